"""Find and read recipe files."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Any

import yaml

from ..common.errors import FileError, MissingFileError, UserError, reason


class _Loader(yaml.SafeLoader):
    """Only YAML's own types; no duplicate keys; no aliases, because a few lines of them can make billions of values."""

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.YAMLError(f"*{event.anchor}{_place(event.start_mark)} is an alias: write the value out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for i, key in enumerate(keys):
            if key in keys[:i]:
                raise yaml.YAMLError(f"{key!r}{_place(node.value[i][0].start_mark)} occurs twice: keep one of them")
        return super().construct_mapping(node, deep)


def _place(mark: yaml.Mark) -> str:
    return f" in line {mark.line + 1}"


def find_recipe(name: str, folders: list[Path] | None = None) -> Path:
    """Find a recipe's file: a file with this name, or else one of the project's recipes.

    Args:
        name: a path, or a recipe's path below `configuration`, with or without `.yaml`: `cityscapes/ocrnet_hr18_40k`.
        folders: the folders of the project's recipes; [`recipe_folders`] by default.

    Returns:
        The file; `Path(name)` if there is none.
    """
    given = Path(name)
    if os.path.isfile(given):  # False for a name that is too long
        return given
    below = below_configuration(given)
    for folder in folders or recipe_folders():
        for file in (folder / below, folder / f"{below}.yaml"):
            if os.path.isfile(file):
                return file
    return given


def recipe_folders() -> list[Path]:
    """The folders of the project's recipes: inside the installed package, or beside it in a clone."""
    package = Path(__file__).parents[1]
    return [package / "configuration", package.parent / "configuration"]


def similar_recipes(name: str) -> list[str]:
    """Names of the project's recipes that are similar to `name`, the most similar first."""
    files = (file for folder in recipe_folders() for file in folder.glob("*/*.yaml"))
    known = {f"{file.parent.name}/{file.stem}" for file in files if file.parent.name != "accelerate"}
    meant = str(below_configuration(Path(name))).removesuffix(".yaml")
    return difflib.get_close_matches(meant, sorted(known), cutoff=0.5)


def below_configuration(path: Path) -> Path:
    """`.../configuration/cityscapes/x.yaml` to `cityscapes/x.yaml`; other paths are returned unchanged."""
    folders = path.parts
    last = max((i for i, name in enumerate(folders) if name == "configuration"), default=-1)
    return Path(*folders[last + 1 :])


def read_recipe(file: Path, what: str = "a recipe") -> dict[str, Any]:
    """Read a recipe's fields, or those of another file, which messages call `what`.

    Raises:
        UserError: if the file isn't YAML, or holds tags, aliases or duplicate keys; the message is one line and names
            the file.
        FileError: if it can't be read.
    """
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), _Loader)  # a SafeLoader
    except FileNotFoundError as error:
        raise MissingFileError(f"{file}: no such file") from error
    except OSError as error:
        raise FileError(f"{file}: can't be read ({reason(error)})") from error
    except (yaml.YAMLError, ValueError, RecursionError, TypeError) as error:
        raise UserError(f"{file}: not {what} ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict):
        raise UserError(f"{file}: not {what} (it holds {type(content).__name__}, expected fields and values)")
    return content
