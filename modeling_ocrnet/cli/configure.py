"""Write a recipe for your data and this machine, with the reason for each value.

    ocrnet configure --data.name folder --data.root mine --minutes 60 --output mine.yaml
    ocrnet train --config mine.yaml --minutes 60

It looks at the data (number, sizes, classes, objects) and at the machine (device, memory), and measures a few training
steps. No score decides anything. The rules are modeling_ocrnet/training/recipe_rules.py. Without --output, the recipe
goes to standard output.
"""

import logging
import sys
from pathlib import Path

from ..common.atomic_files import atomic_write
from ..common.errors import UserError
from ..training.configure import ConfiguredData, Wishes, as_text, configure
from ..training.failure import check_writable
from .parser import DATA_FIELDS, Parser, require_dataset
from .run import command


def build_parser() -> Parser:
    usage = "%(prog)s --data.name DATASET --data.root FOLDER [--minutes N] [--output RECIPE] [options]"
    parser = Parser(usage=usage, description=__doc__)
    parser.add_class_arguments(ConfiguredData, "data")
    about = "Split to evaluate on. If a folder has no split val, images are held out for it."
    parser.add_option("--evaluation.split", type=str, default="val", help=about)
    about = "Minutes that the whole run may take (null: as many epochs as are usual)."
    parser.add_option("--minutes", type=float | None, default=None, help=about)
    about = "Gigabytes of memory on the device to count with (null: those that are free)."
    parser.add_option("--memory", type=float | None, default=None, help=about)
    about = "Start from a model that was trained for segmentation, as in a recipe."
    parser.add_option("--model.init_from", type=str | None, default=None, help=about)
    about = "Architecture, as in a recipe (null: by the device, its memory and the number of images)."
    parser.add_option("--model.variant", type=str | None, default=None, help=about)
    about = "Weights of the backbone, as in a recipe (auto: ImageNet's if they can be had; null: from scratch)."
    parser.add_option("--model.backbone", type=str | None, default="auto", help=about)
    about = "The recipe to write; a file that is there isn't replaced (null: standard output)."
    parser.add_option("--output", type=str | None, default=None, help=about)
    parser.spellings.renamed |= {f"--{name}": f"--data.{name}" for name in (*DATA_FIELDS, "split")}
    return parser


def check_output(output: str) -> None:
    """Refuse a file that can't be written, or that is there: it may hold edits.

    Raises:
        UserError: naming the file.
    """
    if Path(output).is_dir():
        raise UserError(f"--output {output}: a folder; give the recipe's file, such as {Path(output) / 'mine.yaml'}")
    if Path(output).exists():
        raise UserError(f"--output {output}: exists already, and may hold edits; give a new file")
    check_writable(Path(output).parent)


@command("configure.py")
def main(argv: list[str] | None = None) -> None:
    parser, argv = build_parser(), sys.argv[1:] if argv is None else argv
    options = parser.parse_args(argv)
    require_dataset(parser, argv)
    options = parser.instantiate(options)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("modeling_ocrnet").setLevel(logging.INFO)
    wishes = Wishes(
        evaluation_split=options.evaluation.split,
        minutes=options.minutes,
        memory=options.memory,
        init_from=options.model.init_from,
        variant=options.model.variant,
        backbone=options.model.backbone,
    )
    if options.output is not None:
        check_output(options.output)
    text = as_text(configure(options.data, wishes), options.output or "recipe.yaml")
    if options.output is None:
        print(text, end="")
        return
    with atomic_write(options.output) as part:
        part.write_text(text, encoding="utf-8")
    print(f"written: {options.output}")


if __name__ == "__main__":
    main()
