"""Train OCRNet.

    accelerate launch scripts/train.py \\
        --config configuration/cityscapes/ocrnet_hr18_40k.yaml --data.root /data/cityscapes

Every field of the recipe can be given on the command line. --check tries everything out and says what a run would take;
--minutes 30 makes it as long as that allows; --resume last goes on after an interruption.
"""

import sys

from ..training.dry_run import dry_run, fit_to_time_budget
from ..training.failure import explained_processes
from ..training.loop import train
from .recipe_parser import parse_recipe, recipe_parser
from .run import command


@command("train.py")
def main(argv: list[str] | None = None) -> None:
    parser = recipe_parser(__doc__)
    parser.add_argument(
        "--resume",
        type=str | None,
        help="`last`, `auto` (the last checkpoint if there is one), or a checkpoint folder.",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="Check and build everything, run two updates and one evaluation image, and stop.",
    )
    parser.add_argument(
        "--minutes",
        type=float | None,
        help="Measure a few updates first, and choose schedule.max_steps so that all takes about so many minutes.",
    )
    recipe, options = parse_recipe(parser, sys.argv[1:] if argv is None else argv)
    with explained_processes():
        if options.check:
            dry_run(recipe)
            return
        if options.minutes is not None:
            recipe = fit_to_time_budget(recipe, options.minutes, options.resume)
        train(recipe, options.resume)


if __name__ == "__main__":
    main()
