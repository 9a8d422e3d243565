"""Segment images with a checkpoint.

    python scripts/predict.py runs/street_scenes/model photo.jpg more_photos/ 'elsewhere/*.png' --output_dir predictions

For each image: NAME_mask.png (the classes' colours), NAME_overlay.png (over the image, with a legend of the classes
found and their shares) and NAME_ids.png (the dataset's own label ids). Large images: --window '[1024,1024]'.
The paper's test-time augmentation: --scales '[0.5,0.75,1,1.25,1.5,1.75]' --flip true.
"""

import logging
import sys

from ..data.image_files import RULE
from ..data.value_ranges import check_value_range
from ..inference.files import collect_inputs, predict_files
from ..inference.loading import load_engine
from .parser import inference_parser, parse
from .run import command


@command("predict.py")
def main(argv: list[str] | None = None) -> None:
    parser = inference_parser("MODEL INPUT [INPUT ...] [options]", __doc__)
    about = f"Images, folders (with their subfolders) or glob patterns. {RULE}"
    parser.add_argument("inputs", type=str, nargs="+", help=about)
    parser.add_argument("--output_dir", type=str, default="predictions", help="Where the results go.")
    about = "Black and white in images of more than 8 bits, [low, high] or bits (null: the checkpoint's)."
    parser.add_argument("--value_range", type=tuple[float, float] | int | None, default=None, help=about)
    options, inference = parse(parser, argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    check_value_range(options.value_range)
    jobs = collect_inputs(options.inputs, options.output_dir)
    model, processor = load_engine(options.model, options.engine, options.precision)
    if options.value_range is not None:
        processor.value_range = options.value_range
    failures = predict_files(model, processor, jobs, inference)
    print(f"{len(jobs) - len(failures)} of {len(jobs)} images segmented: {options.output_dir}")
    if failures:
        sys.exit("predict.py: these could not be read:\n" + "\n".join(failures))


if __name__ == "__main__":
    main()
