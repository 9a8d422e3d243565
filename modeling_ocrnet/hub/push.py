"""Uploads the folder of a model or a dataset to the Hub in one commit, so that either all files arrive or none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from huggingface_hub import CommitOperationAdd, HfApi, get_token
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    HTTPError,  # of huggingface_hub's HTTP client, whichever that is
    LocalTokenNotFoundError,
    RepositoryNotFoundError,
)

from ..common.errors import UserError
from .example_images import sample_pictures
from .folder import HubError, ModelFolder, one_line, read_folder
from .model_card import make_card

_LOGIN = "log in with `hf auth login`, or set HF_TOKEN to a token with write access"


@dataclass(frozen=True)
class Pushed:
    """The result of a push.

    Args:
        repo_id: the repository, with its owner.
        url: the address of the repository, or of the pull request.
        files: the paths of the uploaded files.
    """

    repo_id: str
    url: str
    files: list[str]


def push(
    folder: str, repo_id: str, *, private: bool = False, pull_request: bool = False, api: HfApi | None = None
) -> Pushed:
    """Upload a model folder to the Hub: weights, code, processor, recipe, metrics, and a model card made from them.

    The folder isn't changed. If it holds a `README.md`, that is used as the card. The recipe is uploaded without local
    paths.

    Args:
        folder: `model` in a training run's folder, or any folder written by `save_pretrained`.
        repo_id: `"owner/name"`, or `"name"` for the token's owner.
        private: make the new repository private.
        pull_request: open a pull request to an existing repository, instead of creating a new one.
        api: for a Hub or a token other than those of the environment.

    Raises:
        HubError: if the folder is incomplete, there is no token, no permission or no network, or the repository exists
            and holds files. Nothing on the Hub is changed then, except that an empty repository may have been created.
    """
    model = read_folder(folder)
    api = api or HfApi()
    require_token(api)
    with _one_line_errors(api, repo_id):
        owner = api.whoami()["name"]  # the cheapest request that detects an invalid token
    repo_id = repo_id if "/" in repo_id else f"{owner}/{repo_id}"
    contents = _contents(model, repo_id)
    with _one_line_errors(api, repo_id):
        return _push(api, contents, repo_id, private, pull_request)


def push_dataset(folder: Path, repo_id: str, *, private: bool = False, api: HfApi | None = None) -> str:
    """Upload an exported dataset in one commit; files that the repository already has aren't sent again.

    Args:
        folder: a folder written by `ocrnet data export`.
        repo_id: `"owner/name"`, or `"name"` for the token's owner.
        private: make the repository private; an existing public one is refused.
        api: for a Hub or a token other than those of the environment.

    Returns:
        The repository's address.

    Raises:
        HubError: if there is no token, no permission or no network.
    """
    api = api or HfApi()
    require_token(api)
    with _one_line_errors(api, repo_id):
        owner = api.whoami()["name"]
        repo_id = repo_id if "/" in repo_id else f"{owner}/{repo_id}"
        api.create_repo(repo_id, repo_type="dataset", private=private or None, exist_ok=True)
        if private and not api.dataset_info(repo_id).private:
            raise HubError(f"{repo_id} exists and is public: make it private on the Hub first, or choose another name")
        files = set(api.list_repo_files(repo_id, repo_type="dataset")) - {".gitattributes"}
        if files and "manifest.json" not in files:
            raise HubError(f"{repo_id} holds files that aren't part of an export ({min(files)}): choose another name")
        api.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            repo_type="dataset",
            allow_patterns=["data/*.parquet", "README.md", "*.json"],
            delete_patterns=["data/*.parquet"],  # otherwise, shards of an older export would be read too
            commit_message="Upload an exported dataset",
        )
    return f"{api.endpoint}/datasets/{repo_id}"


def require_token(api: HfApi | None = None) -> None:
    """Check that there is a token, before hours of work for a push.

    Raises:
        HubError: if nobody is logged in.
    """
    if not (api and api.token or get_token()):
        raise HubError(f"no token for the Hub was found: {_LOGIN}")


@contextmanager
def _one_line_errors(api: HfApi, repo_id: str) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except HFValidationError as error:
        raise HubError(f"{repo_id!r} isn't a valid repository name: expected owner/name ({one_line(error)})") from error
    except LocalTokenNotFoundError as error:
        raise HubError(f"no token for the Hub was found: {_LOGIN}") from error
    except HfHubHTTPError as error:
        raise HubError(f"{repo_id}: {_refusal(error)}; nothing was uploaded") from error
    except (HTTPError, ConnectionError, TimeoutError) as error:
        raise HubError(
            f"the Hub at {api.endpoint} can't be reached ({one_line(error)}); the folder is unchanged: try again when "
            "there is a connection"
        ) from error
    # huggingface_hub has no common error for an unreadable file, an interrupted upload and an invalid README
    except (OSError, RuntimeError, ValueError) as error:
        raise HubError(f"{repo_id}: {one_line(error)}; nothing was uploaded: fix that and try again") from error


def _push(api: HfApi, contents: dict[str, bytes | str], repo_id: str, private: bool, pull_request: bool) -> Pushed:
    operations = [CommitOperationAdd(path, content) for path, content in contents.items()]
    exists = _check_repository(api, repo_id, private, pull_request)
    if not exists:
        api.create_repo(repo_id, private=private or None)  # None: the default of the owner's settings
    commit = api.create_commit(
        repo_id,
        operations,
        commit_message="Upload OCRNet: weights, code, processor, recipe, metrics, card",
        create_pr=pull_request,
    )
    url = str(commit.pr_url) if pull_request else f"{api.endpoint}/{repo_id}"
    return Pushed(repo_id, url, [x.path_in_repo for x in operations])


def _check_repository(api: HfApi, repo_id: str, private: bool, pull_request: bool) -> bool:
    """Whether the repository exists.

    Raises:
        HubError: if it doesn't suit the request.
    """
    try:
        info = api.model_info(repo_id)
    except RepositoryNotFoundError:
        if pull_request:
            raise HubError(f"{repo_id} doesn't exist, so a pull request can't be opened: leave --pr out") from None
        return False
    if private and not info.private:
        raise HubError(f"{repo_id} exists and is public: make it private on the Hub first, or choose another name")
    files = [x.rfilename for x in info.siblings or [] if x.rfilename != ".gitattributes"]
    if files and not pull_request:
        raise HubError(
            f"{repo_id} exists and holds {len(files)} files, which aren't overwritten: open a pull request with --pr, "
            "or choose another name"
        )
    return True


def _contents(model: ModelFolder, repo_id: str) -> dict[str, bytes | str]:
    """The files to upload by their path in the repository: each as bytes, or as a local path."""
    pictures = sample_pictures(model)
    contents: dict[str, bytes | str] = {path.name: str(path) for path in model.shared_files()}
    if model.recipe is not None:
        text = yaml.safe_dump(model.recipe, sort_keys=False, default_flow_style=None)
        contents["recipe.yaml"] = text.encode()
    own_card = model.path / "README.md"
    if own_card.is_file():
        contents["README.md"] = str(own_card)
    else:
        contents["README.md"] = str(make_card(model, repo_id, list(pictures))).encode()
        contents |= pictures
    return contents


def _refusal(error: HfHubHTTPError) -> str:
    status = error.response.status_code if error.response is not None else None
    if status == 401:
        return f"the Hub doesn't accept the token: {_LOGIN}"
    if status == 403:
        return "the token has no write access there: use one that has, or choose a name under your own account"
    return f"the Hub refused ({one_line(error)})"
