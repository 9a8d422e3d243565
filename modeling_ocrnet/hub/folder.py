"""Reads a model folder, and checks it before anything is uploaded."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import yaml

from ..common.compat import damaged_file_errors
from ..common.errors import UserError
from ..configuration_ocrnet import OCRNetConfig

PROCESSOR = "preprocessor_config.json"
_REPOSITORY = re.compile(r"\w[\w.-]*/\w[\w.-]*")
_WEIGHT_FILES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".pdparams")
# The files to upload. Anything else in the folder (optimizer states, notes, keys) isn't uploaded.
_SHARED = ("config.json", PROCESSOR, "metrics.json", "model.safetensors.index.json", "model*.safetensors", "*.py")


class HubError(UserError, RuntimeError):
    """A folder can't be uploaded; the message says in one line why, and what to do."""


@dataclass(frozen=True)
class ModelFolder:
    """A folder written by `save_pretrained` or a training run.

    Args:
        path: the folder.
        config: its model's config.
        recipe: `recipe.yaml` as nested dicts, without local paths; `None` if there is none.
        metrics: `metrics.json`, the scores of the last evaluation; `None` if there is none.
    """

    path: Path
    config: OCRNetConfig
    recipe: dict[str, Any] | None
    metrics: dict[str, Any] | None

    @property
    def dataset(self) -> str | None:
        """The training data's name, if the recipe has it; for a dataset on the Hub, its repository."""
        return self.field("data", "path") or self.field("data", "name")

    @property
    def pretrained(self) -> str | None:
        """The source of the initial weights: a Hub repository, or a file's name."""
        return self.field("model", "init_from") or self.field("model", "backbone")

    @property
    def base_model(self) -> str | None:
        """The Hub repository of the initial weights, if they came from the Hub."""
        return self.pretrained if self.pretrained and _is_repository(self.pretrained) else None

    def field(self, *names: str) -> Any:
        """A field of the recipe; `None` if it doesn't exist."""
        value = self.recipe
        for name in names:
            value = value.get(name) if isinstance(value, dict) else None
        return value

    def shared_files(self) -> list[Path]:
        """The files that are uploaded unchanged, sorted by name."""
        return sorted({path for pattern in _SHARED for path in self.path.glob(pattern)})


def read_folder(path: str | Path) -> ModelFolder:
    """Read a model folder and check that others will be able to load it.

    Args:
        path: a folder written by `save_pretrained` (after training: `model` in the run's folder).

    Raises:
        HubError: if a file is missing or can't be read; names the file.
    """
    path = Path(path).expanduser()
    if not (path / "config.json").is_file():
        raise HubError(f"{path}: holds no config.json; give a model folder: after training, model in the run's folder")
    config = _read(path / "config.json", json.loads)
    if config.get("model_type") != OCRNetConfig.model_type:
        raise HubError(f"{path}/config.json: model_type is {config.get('model_type')!r}, expected 'ocrnet'")
    _check_weights(path)
    if not (path / PROCESSOR).is_file():
        raise HubError(f"{path}: holds no {PROCESSOR}; save the image processor too: processor.save_pretrained(folder)")
    for file in (path / "config.json", path / PROCESSOR):
        _check_code(path, file)
    recipe = _read(path / "recipe.yaml", yaml.safe_load) if (path / "recipe.yaml").is_file() else None
    metrics = _read(path / "metrics.json", json.loads) if (path / "metrics.json").is_file() else None
    try:
        ours = OCRNetConfig.from_pretrained(path)
    except damaged_file_errors() as error:
        raise HubError(f"{path}/config.json: {one_line(error)}") from error
    return ModelFolder(path, ours, None if recipe is None else _without_paths(recipe), metrics)


def _check_weights(path: Path) -> None:
    index = path / "model.safetensors.index.json"
    if index.is_file():
        names = sorted(set(_read(index, json.loads).get("weight_map", {}).values()))
        missing = [name for name in names if not (path / name).is_file()]
        if missing or not names:
            wanted = ", ".join(missing) or "no file at all"
            raise HubError(f"{path}: {index.name} names {wanted}, which doesn't exist; save the weights again")
    elif not (path / "model.safetensors").is_file():
        raise HubError(f"{path}: holds no model.safetensors; save the weights with model.save_pretrained(folder)")


def _check_code(path: Path, file: Path) -> None:
    """Check that the code files named in a file's auto_map exist: without them, nobody could load the checkpoint."""
    entries = _read(file, json.loads).get("auto_map")
    if not entries:
        raise HubError(f"{file}: has no auto_map, which names the model's code; save it again with this package")
    for entry in entries.values():
        for name in [entry] if isinstance(entry, str) else [x for x in entry if x]:
            module = name.split("--")[-1].split(".")[0]
            if not (path / f"{module}.py").is_file():
                raise HubError(f"{path}: holds no {module}.py, which {file.name} names; save it again")


def _read(file: Path, parse) -> dict[str, Any]:
    try:
        content = parse(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise HubError(f"{file}: can't be read ({one_line(error)})") from error
    if not isinstance(content, dict):
        raise HubError(f"{file}: expected fields and values, got {type(content).__name__}")
    return content


def _without_paths(recipe: dict[str, Any]) -> dict[str, Any]:
    """The recipe without local paths, which may be private."""
    recipe = {key: value for key, value in recipe.items() if key != "output_dir"} | {"output": None}  # its old name
    if isinstance(recipe.get("data"), dict):
        data = {**recipe["data"], "root": None, "classes": None}
        if data.get("path") and (not _is_repository(data["path"]) or Path(data["path"]).exists()):
            data["path"] = None
        recipe["data"] = data
    if isinstance(model := recipe.get("model"), dict):
        named = {key: model[key] for key in ("variant", "backbone", "init_from") if isinstance(model.get(key), str)}
        local = {key: name for key, name in named.items() if not _is_repository(name) or Path(name).exists()}
        recipe["model"] = {**model, **{key: PurePath(name).name for key, name in local.items()}}
    return recipe


def _is_repository(name: str) -> bool:
    """Whether this is `owner/name` on the Hub. `weights/hrnet.pth` has the same form, but is a file."""
    return bool(_REPOSITORY.fullmatch(name)) and PurePath(name).suffix not in _WEIGHT_FILES


def one_line(error: Exception) -> str:
    """An error's message on one line."""
    return " ".join(str(error).split()) or type(error).__name__
