"""A folder, of a model or a dataset, to the Hub in one commit: either all of it is there, or nothing."""

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
    HTTPError,  # of whatever client huggingface_hub has: httpx, and later its successor
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
    """What became of a push.

    Args:
        repo_id: the repository, with its owner.
        url: of the repository, or of the pull request.
        files: the paths uploaded.
    """

    repo_id: str
    url: str
    files: list[str]


def push(
    folder: str, repo_id: str, *, private: bool = False, pull_request: bool = False, api: HfApi | None = None
) -> Pushed:
    """Share a model folder on the Hub: weights, code, processor, recipe, metrics, and a model card made from them.

    The folder is only read. A `README.md` that lies in it is taken as it is instead of a card. Of the recipe a copy is
    uploaded without this machine's paths.

    Args:
        folder: what training leaves in `<output_dir>/model`, or anything that `save_pretrained` wrote.
        repo_id: `"owner/name"`, or `"name"` for the token's owner.
        private: nobody else may see the new repository.
        pull_request: propose the files to a repository that exists, instead of making a new one.
        api: another Hub, or another token, than the environment says.

    Raises:
        HubError: where the folder isn't complete, there is no token, no right or no network, or the repository exists
            and holds files; one line, and nothing on the Hub was changed but, at most, an empty repository made.
    """
    model = read_folder(folder)
    api = api or HfApi()
    require_token(api)
    with _one_line_errors(api, repo_id):
        owner = api.whoami()["name"]  # the cheapest question that tells a bad token
    repo_id = repo_id if "/" in repo_id else f"{owner}/{repo_id}"
    contents = _contents(model, repo_id)
    with _one_line_errors(api, repo_id):
        return _push(api, contents, repo_id, private, pull_request)


def push_dataset(folder: Path, repo_id: str, *, private: bool = False, api: HfApi | None = None) -> str:
    """Upload an exported dataset in one commit; files that are there already aren't sent again.

    Args:
        folder: what `scripts/prepare_data.py export` wrote.
        repo_id: `"owner/name"`, or `"name"` for the token's owner.
        private: nobody else may see the repository; a public one that exists is refused.
        api: another Hub, or another token, than the environment says.

    Returns:
        The repository's address.

    Raises:
        HubError: where there is no token, no right or no network; one line.
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
            raise HubError(f"{repo_id} holds files that aren't an export's ({min(files)}): choose another name")
        api.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            repo_type="dataset",
            allow_patterns=["data/*.parquet", "README.md", "*.json"],
            delete_patterns=["data/*.parquet"],  # shards of an older export would be read as well
            commit_message="Upload an exported dataset",
        )
    return f"{api.endpoint}/datasets/{repo_id}"


def require_token(api: HfApi | None = None) -> None:
    """Before hours of work for a push.

    Raises:
        HubError: where nobody is logged in.
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
        raise HubError(f"{repo_id!r} can't be a repository's name: expected owner/name ({one_line(error)})") from error
    except LocalTokenNotFoundError as error:
        raise HubError(f"no token for the Hub was found: {_LOGIN}") from error
    except HfHubHTTPError as error:
        raise HubError(f"{repo_id}: {_refusal(error)}; nothing was uploaded") from error
    except (HTTPError, ConnectionError, TimeoutError) as error:
        raise HubError(
            f"the Hub at {api.endpoint} can't be reached ({one_line(error)}); the folder is as it was: try again when "
            "there is a connection"
        ) from error
    # huggingface_hub has no one error for a file that can't be read, an upload cut off, a bad README
    except (OSError, RuntimeError, ValueError) as error:
        raise HubError(f"{repo_id}: {one_line(error)}; nothing was uploaded: try again once that is mended") from error


def _push(api: HfApi, contents: dict[str, bytes | str], repo_id: str, private: bool, pull_request: bool) -> Pushed:
    operations = [CommitOperationAdd(path, content) for path, content in contents.items()]
    exists = _check_repository(api, repo_id, private, pull_request)
    if not exists:
        api.create_repo(repo_id, private=private or None)  # None: what the owner's settings say
    commit = api.create_commit(
        repo_id,
        operations,
        commit_message="Upload OCRNet: weights, code, processor, recipe, metrics, card",
        create_pr=pull_request,
    )
    url = commit.pr_url if pull_request else f"{api.endpoint}/{repo_id}"
    return Pushed(repo_id, url, [x.path_in_repo for x in operations])


def _check_repository(api: HfApi, repo_id: str, private: bool, pull_request: bool) -> bool:
    """Whether the repository is there, and fit for what is asked."""
    try:
        info = api.model_info(repo_id)
    except RepositoryNotFoundError:
        if pull_request:
            raise HubError(f"{repo_id} doesn't exist, so nothing can be proposed to it: leave --pr out") from None
        return False
    if private and not info.private:
        raise HubError(f"{repo_id} exists and is public: make it private on the Hub first, or choose another name")
    files = [x.rfilename for x in info.siblings or [] if x.rfilename != ".gitattributes"]
    if files and not pull_request:
        raise HubError(
            f"{repo_id} exists and holds {len(files)} files, which stay as they are: propose these with --pr, or "
            "choose another name"
        )
    return True


def _contents(model: ModelFolder, repo_id: str) -> dict[str, bytes | str]:
    """Every file of the repository by its path there: its bytes, or its path here."""
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
        return "the token has no right to write there: use one with write access, or choose a name of your own"
    return f"the Hub refused ({one_line(error)})"
