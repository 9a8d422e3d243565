"""Recipes from YAML files and the command line."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import get_type_hints

import yaml
from jsonargparse import ActionConfigFile, Namespace

from ..common.errors import UserError
from ..training.build import build_accelerator
from ..training.recipe import Recipe, as_dict
from ..training.recipe_file import below_configuration, find_recipe, read_recipe, similar_recipes
from .parser import Parser, check_filled
from .spellings import tell_on_stderr

_OLD_OUTPUT = re.compile(r"^output_dir(?=\s*:)", re.MULTILINE)


class RecipeParser(Parser):
    """Reads recipes too that call the output folder `output_dir`, as they once did."""

    def parse_string(self, content: str, *args, **kwargs):
        content, found = _OLD_OUTPUT.subn("output", content)
        if found:
            tell_on_stderr("output_dir in a recipe is now output")
        return super().parse_string(content, *args, **kwargs)


def recipe_parser(description: str | None = None) -> Parser:
    """A parser with every field of the recipe as a documented option, and `--config` for YAML files."""
    usage = "%(prog)s --config RECIPE [--any.field VALUE ...]"
    parser = RecipeParser(usage=usage, description=description, print_config=None)
    parser.add_option(
        "--config",
        action=ActionConfigFile,
        help="A recipe (YAML), by its path or as cityscapes/ocrnet_hr18_40k; options override it.",
    )
    parser.add_class_arguments(Recipe)
    parser.spellings.renamed["--output_dir"] = "--output"
    return parser


def parse_recipe(parser: Parser, argv: list[str]) -> tuple[Recipe, Namespace]:
    """The recipe that a command line describes, and the parser's other options.

    Options override the file wherever they stand. The output folder follows from the recipe's path, unless given.
    Whatever is wrong with either ends the program with one line that says so.
    """
    argv = _found(_config_first(argv))
    try:
        for group, file in _files(argv):
            if os.path.isfile(file):  # False for a name that is too long
                values = read_recipe(file)
                check_filled(_GROUPS[group], values, group)
                if not group and {"output", "output_dir"} <= values.keys():
                    raise UserError(f"{file}: has output and output_dir, which is its old name: keep output")
            elif not group and (meant := similar_recipes(str(file))):  # without any, the parser says what isn't there
                raise UserError(f"--config {file}: no such recipe; the nearest are {', '.join(meant)}")
        options = parser.parse_args(argv)
        check_filled(Recipe, options)  # of what stands on the command line, too
        options = parser.instantiate(options)
        recipe = Recipe(**{field.name: options.pop(field.name) for field in fields(Recipe)})
    except UserError as error:
        parser.error(str(error))
    configs = options.pop("config") or []
    if recipe.output is None:
        recipe.output = str(Path("runs") / (_identity(str(configs[-1])) if configs else "ocrnet"))
    return recipe, options


def print_config(recipe: Recipe) -> None:
    """Print a recipe as YAML, with what this machine and launch make of fields that are null; the main process does."""
    accelerator = build_accelerator(recipe)
    data = recipe.data if recipe.data.name == "hub" else replace(recipe.data, root=str(recipe.data.folder))
    resolved = replace(recipe, data=data, mixed_precision=accelerator.mixed_precision)
    processes, steps = accelerator.num_processes, recipe.accumulation_steps(accelerator.num_processes)
    if accelerator.is_main_process:
        print(f"# processes: {processes}, device: {accelerator.device.type}, accumulation steps: {steps}")
        print(yaml.safe_dump(as_dict(resolved), sort_keys=False, allow_unicode=True), end="")


def _identity(config: str) -> Path:
    """`.../configuration/cityscapes/x.yaml` to `cityscapes/x`; elsewhere the file's name."""
    path = Path(config).with_suffix("")
    return below_configuration(path) if "configuration" in path.parts else Path(path.name)


def _found(argv: list[str]) -> list[str]:
    """The command line with the files that the names of recipes mean."""
    argv = list(argv)
    for i, text in enumerate(argv):
        if text.startswith("--config="):
            argv[i] = f"--config={find_recipe(text.removeprefix('--config='))}"
        elif i and argv[i - 1] == "--config":
            argv[i] = str(find_recipe(text))
    return argv


def _files(argv: list[str]) -> list[tuple[str, Path]]:
    """What of a command line the parser reads as YAML, each with the group that it fills: recipes (of `""`), and parts
    of them (`--model part.yaml`)."""
    options = {f"--{group or 'config'}": group for group in _GROUPS}
    apart = [(option, value) for option, value in zip(argv, argv[1:], strict=False) if option in options]
    joined = [(option, value) for option, equals, value in (x.partition("=") for x in argv) if equals]
    return [(options[option], Path(value)) for option, value in apart + joined if option in options]


def _groups(kind: type, name: str = "") -> Iterator[tuple[str, type]]:
    """What has fields of its own, by name: the recipe (`""`), `data`, ..., `evaluation.inference`."""
    yield name, kind
    for field, of_field in get_type_hints(kind).items():
        if is_dataclass(of_field):
            yield from _groups(of_field, f"{name}.{field}" if name else field)


_GROUPS = dict(_groups(Recipe))


def _config_first(argv: list[str]) -> list[str]:
    """Move `--config X` to the front: jsonargparse would let it win over the options before it."""
    first = [i for i, x in enumerate(argv) if x == "--config" or x.startswith("--config=")]
    values = [i + 1 for i in first if argv[i] == "--config"]
    order = sorted(first + [i for i in values if i < len(argv)])
    return [argv[i] for i in order] + [x for i, x in enumerate(argv) if i not in order]
