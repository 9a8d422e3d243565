"""Segment images with a checkpoint.

    ocrnet predict runs/street_scenes/model photo.jpg more_photos/ 'elsewhere/*.png' --output predictions

Writes three files for each image: NAME_mask.png (the classes' colours), NAME_overlay.png (the mask over the image, with
a legend of the classes found and their shares) and NAME_ids.png (the dataset's own label ids). Large images:
--window 1024,1024. The paper's test-time augmentation: --scales 0.5,0.75,1,1.25,1.5,1.75 --flip.
"""

import logging
import sys

from ..data.image_files import RULE
from ..data.image_headers import MAX_PIXELS, check_max_pixels
from ..data.value_ranges import check_value_range
from ..inference.files import collect_inputs, predict_files
from ..inference.loading import load_engine
from .parser import Parser, inference_parser, parse
from .run import command, program_name


def build_parser() -> Parser:
    parser = inference_parser("MODEL INPUT [INPUT ...] [options]", __doc__)
    about = f"Images, folders (with their subfolders) or glob patterns. {RULE}"
    parser.add_argument("inputs", type=str, nargs="+", help=about)
    parser.add_option("--output", type=str, default="predictions", help="The folder for the results.")
    about = "The values that are black and white in images of more than 8 bits: low,high or a number of bits "
    about += "(null: the checkpoint's)."
    parser.add_option("--value_range", type=tuple[float, float] | int | None, default=None, help=about)
    about = "The most pixels that an image may have. Larger ones are refused before they are decoded, because a small "
    about += "file can claim any size."
    parser.add_option("--max_pixels", type=int, default=MAX_PIXELS, help=about)
    parser.spellings.renamed["--output_dir"] = "--output"
    return parser


@command("predict.py")
def main(argv: list[str] | None = None) -> None:
    options, inference = parse(build_parser(), argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    check_value_range(options.value_range)
    check_max_pixels(options.max_pixels)
    jobs = collect_inputs(options.inputs, options.output)
    model, processor = load_engine(options.model, options.engine, options.precision)
    if options.value_range is not None:
        processor.value_range = options.value_range
    failures = predict_files(model, processor, jobs, inference, options.max_pixels)
    print(f"{len(jobs) - len(failures)} of {len(jobs)} images segmented: {options.output}")
    if failures:
        sys.exit(f"{program_name('predict.py')}: these could not be read:\n" + "\n".join(failures))


if __name__ == "__main__":
    main()
