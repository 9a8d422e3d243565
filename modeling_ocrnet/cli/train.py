"""Train OCRNet.

    accelerate launch scripts/train.py --config cityscapes/ocrnet_hr18_40k --data.root /data/cityscapes
    ocrnet train --config street_scenes/ocrnet_hr18s --minutes 6

`ocrnet train` runs one process. From anywhere, `accelerate launch -m modeling_ocrnet.cli.train` is the same as
scripts/train.py. Every field of the recipe is an option. --print_config shows the recipe as it will run; --check tries
everything out and estimates what a run takes; --resume last continues after an interruption.
"""

import sys

from ..training.dry_run import dry_run
from ..training.failure import explained_processes
from ..training.loop import train
from ..training.run_time import process_clock
from .parser import Parser
from .recipe_parser import parse_recipe, print_config, recipe_parser
from .run import command


def build_parser() -> Parser:
    parser = recipe_parser(__doc__)
    about = "Print the recipe as it will run, as YAML, and stop."
    parser.add_option("--print_config", type=bool, default=False, help=about)
    parser.add_option(
        "--resume",
        type=str | None,
        help="`last`, `auto` (the last checkpoint if there is one), or a checkpoint folder.",
    )
    parser.add_option(
        "--extend",
        type=bool,
        default=False,
        help="With --resume: go on to a later end than the run had, to a larger schedule.max_steps or to more minutes. "
        "From then on, the learning rate is that of a run of the new length.",
    )
    about = "Check and build everything, run two steps and one evaluation image, and stop."
    parser.add_option("--check", type=bool, default=False, help=about)
    parser.add_option(
        "--minutes",
        type=float | None,
        help="Minutes that the whole run takes, its start and end included. The learning rate follows the clock, not "
        "schedule.max_steps. With --resume, the time that was used before counts. Two such runs differ, and a resumed "
        "one isn't the same to the bit as one that wasn't interrupted.",
    )
    return parser


@command("train.py")
def main(argv: list[str] | None = None) -> None:
    recipe, options = parse_recipe(build_parser(), sys.argv[1:] if argv is None else argv)
    with explained_processes():
        if options.print_config:
            print_config(recipe)
            return
        if options.check:
            dry_run(recipe)
            return
        train(recipe, options.resume, options.minutes, process_clock(), options.extend)


if __name__ == "__main__":
    main()
