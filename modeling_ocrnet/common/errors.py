"""Errors that are for people: what the user can mend. A command says them in one line; all others keep their traceback.

A message names the file or the field, the value, what was expected, and the remedy.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
_OF_WRONG_CODE = (TypeError, AttributeError, NameError, LookupError, AssertionError)


class UserError(ValueError):
    """What was given can't be worked with, and the message says what to do about it."""

    def __init__(self, message: str):
        # torch's data workers hand an error on with its traceback in front of the message
        name = type(self).__name__
        in_worker = message.startswith(f"Caught {name} in ")
        super().__init__(message.rpartition(f"{name}: ")[2].strip() if in_worker else message)


class FileError(UserError, OSError):
    """A file or an address can't be read or written."""


class MissingFileError(FileError, FileNotFoundError):
    """There is no such file."""


class MissingPackageError(UserError, ImportError):
    """A package isn't installed; the message says which command does it."""


def is_bug(error: BaseException) -> bool:
    """Whether an error is most likely a mistake in this package: its own line raised what wrong code raises.

    Where libraries may raise anything at damaged files, this tells which errors must keep their traceback.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    own = trace is not None and Path(trace.tb_frame.f_code.co_filename).is_relative_to(_PACKAGE)
    return own and isinstance(error, _OF_WRONG_CODE)


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """What the system says to writing `path`, which the user chose, as an error for the user.

    Raises:
        FileError: for an `OSError` inside the block.
    """
    try:
        yield
    except FileError:
        raise
    except OSError as error:
        raise FileError(f"{path}: can't be written ({reason(error)}): choose another place, or mend that") from error


def reason(error: BaseException, longest: int = 300) -> str:
    """What an error says, on one line: of the system's errors the words, without their number and the path."""
    words = getattr(error, "strerror", None) or str(error)
    return " ".join(str(words).split())[:longest] or type(error).__name__
