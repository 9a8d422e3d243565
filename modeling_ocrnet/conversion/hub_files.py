"""Files of repositories on the Hub, and errors of one line for those that can't be had."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import validate_repo_id

from ..common.errors import FileError

_UNREACHABLE = (LocalEntryNotFoundError, OfflineModeIsEnabled, HfHubHTTPError, ConnectionError, TimeoutError)


def is_repository(name: str) -> bool:
    """Whether a name has the form `owner/name` of the Hub, which `./name` hasn't."""
    if name.count("/") != 1:
        return False
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def folder_file(folder: str, name: str) -> Path | None:
    """A file of a local folder or of a repository on the Hub, downloaded; `None` if there is none of this name.

    Raises:
        FileError: if the repository doesn't exist, or can't be read; the message says what to do.
    """
    path = Path(folder).expanduser()
    if path.is_dir():
        return path / name if (path / name).is_file() else None
    with reachable(folder):
        try:
            return Path(hf_hub_download(folder, name))
        except LocalEntryNotFoundError:  # an EntryNotFoundError too, but it says nothing about the repository
            raise
        except EntryNotFoundError:
            return None


@contextmanager
def reachable(name: str) -> Iterator[None]:
    """Turns what a failed download raises, also inside of other errors, into an error of one line.

    Args:
        name: the repository.

    Raises:
        FileError: for such an error; all others pass unchanged.
    """
    try:
        yield
    except FileError:
        raise
    except Exception as error:
        message = _message(name, error)
        if message is None:
            raise
        raise FileError(message) from error


def _message(name: str, error: BaseException) -> str | None:
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    for x in chain:
        if isinstance(x, GatedRepoError):
            return (
                f"{name}: a gated repository: accept its terms on https://huggingface.co/{name} (with your account), "
                "log in with: hf auth login, and start again"
            )
        if isinstance(x, RepositoryNotFoundError):
            return (
                f"{name}: no such repository on the Hub, or a private one: check the name; for a private one, log in "
                "with: hf auth login"
            )
    if any(isinstance(x, _UNREACHABLE) for x in chain):
        return (
            f"{name}: the Hub can't be reached and the file isn't in the local cache: connect once, or give a local "
            "folder with the repository's files"
        )
    return None
