"""Convert a checkpoint of mmsegmentation, the paper's authors, openseg.pytorch or timm to a folder of our own.

    python scripts/convert_checkpoint.py ocrnet_hr48_512x1024_160k_cityscapes.pth converted/hr48

Family and architecture are read off the weights; no code in the file runs. The folder holds config, weights, image
processor and model card: `scripts/predict.py converted/hr48 photo.jpg`. What the weights don't show is given as JSON:
--config '{"dropout": 0.1}'. And back, for comparisons:

    python scripts/convert_checkpoint.py runs/street_scenes/model ocrnet.pth --to mmseg
"""

import argparse
import json
from pathlib import Path

from ..conversion.convert import FAMILIES, convert_checkpoint, export_mmseg
from .run import command


def fields(text: str) -> dict:
    """JSON, or the name of a file that holds some."""
    try:
        found = json.loads(text if text.lstrip().startswith("{") else Path(text).read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is neither JSON nor a file of it ({error})") from error
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError(f"{text!r} must hold fields of the config, not a {type(found).__name__}")
    return found


@command("convert_checkpoint.py")
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", help="The checkpoint; with --to, a folder that save_pretrained wrote.")
    parser.add_argument("output_dir", help="The new folder; with --to, the new file.")
    parser.add_argument("--source", choices=["auto", *FAMILIES], default="auto", help="Whose checkpoint it is.")
    parser.add_argument("--config", type=fields, default={}, help="Fields of the config, as JSON or a JSON file.")
    parser.add_argument("--to", choices=["mmseg"], help="Convert back.")
    options = parser.parse_args(argv)
    if options.to:
        print(export_mmseg(options.input, options.output_dir))
        return
    print(convert_checkpoint(options.input, options.output_dir, options.source, options.config))
    print(f"written: {options.output_dir}")


if __name__ == "__main__":
    main()
