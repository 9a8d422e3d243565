"""Recipes from YAML files and the command line."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

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
        for config in _configs(argv):
            if config.is_file():  # what isn't there, the parser says
                read_recipe(config)
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


def _configs(argv: list[str]) -> list[Path]:
    """The recipes of a command line that `_config_first` has put in order."""
    values = [x.removeprefix("--config=") for x in argv if x.startswith("--config=")]
    return [Path(x) for x in values + [argv[i + 1] for i, x in enumerate(argv[:-1]) if x == "--config"]]


def _config_first(argv: list[str]) -> list[str]:
    """Move `--config X` to the front: jsonargparse would let it win over the options before it."""
    first = [i for i, x in enumerate(argv) if x == "--config" or x.startswith("--config=")]
    values = [i + 1 for i in first if argv[i] == "--config"]
    order = sorted(first + [i for i in values if i < len(argv)])
    return [argv[i] for i in order] + [x for i, x in enumerate(argv) if i not in order]
