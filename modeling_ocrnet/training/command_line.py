"""Recipes from YAML files and the command line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import get_type_hints

from jsonargparse import ActionConfigFile, ArgumentParser, Namespace

from ..inference.command_line import HelpFormatter
from .recipe import Recipe
from .recipe_file import read_recipe


def recipe_parser(description: str | None = None) -> ArgumentParser:
    """A parser with every field of the recipe as a documented option, and `--config` for YAML files."""
    usage = "%(prog)s --config RECIPE.yaml [--any.field VALUE ...]"
    parser = ArgumentParser(usage=usage, description=description, formatter_class=HelpFormatter)
    parser.add_argument("--config", action=ActionConfigFile, help="A recipe (YAML); options override it.")
    parser.add_class_arguments(Recipe)
    return parser


def parse_recipe(parser: ArgumentParser, argv: list[str]) -> tuple[Recipe, Namespace]:
    """The recipe that a command line describes, and the parser's other options.

    Options override the file wherever they stand. The output folder follows from the recipe's path, unless given.
    Whatever is wrong with either ends the program with one line that says so.
    """
    argv = _config_first(argv)
    try:
        for file in _files(argv):
            if file.is_file():  # what isn't there, the parser says
                read_recipe(file)
        options = parser.instantiate(parser.parse_args(argv))
        recipe = Recipe(**{field.name: options.pop(field.name) for field in fields(Recipe)})
    except (ValueError, OSError) as error:
        parser.error(str(error))
    configs = options.pop("config") or []
    if recipe.output_dir is None:
        recipe.output_dir = str(Path("runs") / (_identity(str(configs[-1])) if configs else "ocrnet"))
    return recipe, options


def _identity(config: str) -> Path:
    """`.../configuration/cityscapes/x.yaml` to `cityscapes/x`; elsewhere the file's name."""
    path = Path(config).with_suffix("")
    folders = path.parts
    return Path(*folders[folders.index("configuration") + 1 :]) if "configuration" in folders else Path(path.name)


def _files(argv: list[str]) -> list[Path]:
    """What of a command line the parser reads as YAML: recipes, and parts of them (`--model part.yaml`)."""
    options = {"--config", *(f"--{group}" for group in _groups(Recipe))}
    apart = [value for option, value in zip(argv, argv[1:], strict=False) if option in options]
    joined = [value for option, equals, value in (x.partition("=") for x in argv) if equals and option in options]
    return [Path(x) for x in apart + joined]


def _groups(recipe: type, prefix: str = "") -> Iterator[str]:
    """The fields that have fields of their own: `data`, ..., `evaluation.inference`."""
    for name, kind in get_type_hints(recipe).items():
        if is_dataclass(kind):
            yield prefix + name
            yield from _groups(kind, f"{prefix}{name}.")


def _config_first(argv: list[str]) -> list[str]:
    """Move `--config X` to the front: jsonargparse would let it win over the options before it."""
    first = [i for i, x in enumerate(argv) if x == "--config" or x.startswith("--config=")]
    values = [i + 1 for i in first if argv[i] == "--config"]
    order = sorted(first + [i for i in values if i < len(argv)])
    return [argv[i] for i in order] + [x for i, x in enumerate(argv) if i not in order]
