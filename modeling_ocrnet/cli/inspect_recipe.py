"""`ocrnet data inspect --config RECIPE`: the data of a recipe, or with `--augmented` what its training sees of them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..preparation.inspection import inspect
from ..training.augmented import write_augmented_sheet
from .parser import DATA_FIELDS, Parser
from .recipe_parser import parse_recipe, recipe_parser

ABOUT = {
    "--config": "A recipe (YAML), by its path or as cityscapes/ocrnet_hr18_40k, to inspect the data of. All of its "
    "fields are options then, as of ocrnet train.",
    "--augmented": "With --config: instead of the statistics, draw this many training samples as the recipe's training "
    "sees them, to <name>_augmented.png in the output folder.",
}
_OF_STATISTICS = ("--splits", "--class_weights", "--limit", "--pictures", "--workers")
_DEFAULT_OUTPUT = "inspection"


RECIPE_OPTIONS = {x.removeprefix("--") for x in ABOUT}


def add_recipe_options(parser: Parser) -> None:
    """Add `--config` and `--augmented`, so that the command's help has them."""
    parser.add_option("--config", type=str | None, default=None, help=ABOUT["--config"])
    parser.add_option("--augmented", type=int | None, default=None, help=ABOUT["--augmented"])


def names_a_recipe(argv: Sequence[str]) -> bool:
    """Whether a command line of `inspect` has one of the options above."""
    return bool(_given(argv) & ABOUT.keys())


def inspect_recipe(prog: str, argv: Sequence[str]) -> int | Path:
    """Run `inspect` for a recipe.

    Args:
        prog: what the command is called in messages.
        argv: its command line.

    Returns:
        The statistics' exit code, or the file of the samples.

    Raises:
        SystemExit: for a mistake on the command line or in the recipe, after a line that says so.
        UserError: if the data can't be used.
    """
    parser = recipe_parser(inspect.__doc__.partition("\n")[0])
    parser.prog = prog
    parser.usage = "%(prog)s --config RECIPE [--augmented N] [--any.field VALUE ...]"
    parser.add_option("--augmented", type=int | None, default=None, help=ABOUT["--augmented"])
    parser.add_function_arguments(inspect, skip={"source", "output"})
    parser.spellings.renamed |= {f"--{name}": f"--data.{name}" for name in DATA_FIELDS}
    if "--config" not in _given(argv):
        parser.error("--augmented draws what a recipe's training sees: give the recipe too, --config RECIPE")
    if (clash := [x for x in _OF_STATISTICS if x in _given(argv)]) and "--augmented" in _given(argv):
        parser.error(f"{clash[0]} is for the statistics, which --augmented leaves out: take one of the two out")
    # the recipe's `output` is the folder of its run
    outer = argparse.ArgumentParser(prog=prog, add_help=False, allow_abbrev=False, usage=argparse.SUPPRESS)
    outer.add_argument("--output", "--output_dir", default=_DEFAULT_OUTPUT)
    folder, rest = outer.parse_known_args(argv)
    recipe, options = parse_recipe(parser, rest)
    augmented = options.pop("augmented")
    if augmented is not None:
        return write_augmented_sheet(recipe, augmented, folder.output)
    return inspect(recipe.data, output=folder.output, **options.as_dict())


def _given(argv: Sequence[str]) -> set[str]:
    return {text.partition("=")[0] for text in argv}
