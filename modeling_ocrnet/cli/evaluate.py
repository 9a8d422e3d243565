"""Evaluate a checkpoint.

    ocrnet evaluate runs/cityscapes/ocrnet_hr18_40k/model --data.name cityscapes --data.root /data/cityscapes

On several devices: accelerate launch -m modeling_ocrnet.cli.evaluate ... The published test-time augmentation:
--scales 0.5,0.75,1,1.25,1.5,1.75 --flip. For Cityscapes' test server: --split test --submission out.zip;
--check_submission out.zip reads a zip and lists what the server would refuse.
"""

import logging
import sys

from .. import data
from ..evaluation.evaluate_checkpoint import EvaluationArguments, evaluate_checkpoint
from ..evaluation.submission import check_submission
from .parser import DATA_FIELDS, Parser, add_data_arguments, inference_parser, parse, task_of
from .run import command


def build_parser() -> Parser:
    usage = "MODEL --data.name DATASET --data.root FOLDER [options]"
    parser = inference_parser(usage, __doc__, model_needed=False)
    add_data_arguments(parser)
    parser.add_class_arguments(EvaluationArguments, skip=DATA_FIELDS)
    about = "Check this zip against the split, and do nothing else."
    parser.add_option("--check_submission", type=str | None, help=about)
    return parser


@command("evaluate.py")
def main(argv: list[str] | None = None) -> None:
    parser = build_parser()
    options, inference = parse(parser, argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    task = task_of(EvaluationArguments, options)
    if options.check_submission:
        dataset, labels = data.load(task, split=task.split), data.label_set(task)
        problems = check_submission(options.check_submission, dataset, labels)
        print("\n".join(problems) or f"{options.check_submission}: complete and well-formed")
        sys.exit(1 if problems else 0)
    if options.model is None:
        parser.error("give a checkpoint folder or a Hub repository")
    evaluate_checkpoint(options.model, task, inference, options.engine, options.precision)


if __name__ == "__main__":
    main()
