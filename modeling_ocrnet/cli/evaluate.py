"""Evaluate a checkpoint.

    python scripts/evaluate.py runs/cityscapes/ocrnet_hr18_40k/model --name cityscapes --root /data/cityscapes

On several devices: accelerate launch scripts/evaluate.py ... Multi-scale with mirrors, as published:
--scales '[0.5,0.75,1,1.25,1.5,1.75]' --flip true. For Cityscapes' test server: --split test --submission out.zip;
--check_submission out.zip reads one back and says what a server would refuse.
"""

import logging
import sys
from dataclasses import fields

from .. import data
from ..evaluation.evaluate_checkpoint import EvaluationArguments, evaluate_checkpoint
from ..evaluation.submission import check_submission
from .parser import inference_parser, parse
from .run import command


@command("evaluate.py")
def main(argv: list[str] | None = None) -> None:
    parser = inference_parser("MODEL --name DATASET --root FOLDER [options]", __doc__, model_needed=False)
    parser.add_class_arguments(EvaluationArguments)
    parser.add_argument("--check_submission", type=str | None, help="Only check this zip against the split.")
    options, inference = parse(parser, argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    task = EvaluationArguments(**{field.name: options.pop(field.name) for field in fields(EvaluationArguments)})
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
