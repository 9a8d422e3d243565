"""Convert a checkpoint of mmsegmentation, the paper's authors, openseg.pytorch or timm to a folder of our own.

    ocrnet convert ocrnet_hr48_512x1024_160k_cityscapes.pth --output converted/hr48
    ocrnet predict converted/hr48 photo.jpg

The family and the architecture are read from the weights; no code in the file runs. The folder holds config, weights,
image processor and model card. Give what the weights don't show as fields of the config: --model.config.dropout 0.1.
To convert back, for comparisons:

    ocrnet convert runs/street_scenes/model --output ocrnet.pth --to mmseg
"""

import json
from pathlib import Path
from typing import Any, Literal

from ..common.errors import UserError
from ..conversion.convert import FAMILIES, convert_checkpoint, export_mmseg
from .parser import Parser
from .run import command


def build_parser() -> Parser:
    parser = Parser(usage="%(prog)s CHECKPOINT --output OUTPUT [options]", description=__doc__)
    parser.add_argument("input", type=str, help="The checkpoint; with --to, a folder that save_pretrained wrote.")
    parser.add_option("--output", type=str, required=True, help="The new folder; with --to, the new file.")
    about = "The family of the checkpoint (auto: as its weights show)."
    parser.add_option("--source", type=Literal[("auto", *FAMILIES)], default="auto", help=about)
    about = "Fields of OCRNetConfig that the weights don't show, as in a recipe; or a JSON file of them."
    parser.add_option("--model.config", type=dict[str, Any] | str, default={}, help=about)
    parser.add_option("--to", type=Literal["mmseg"] | None, help="Convert back.")
    parser.spellings.renamed["--config"] = "--model.config"
    parser.spellings.positions = (None, "--output")
    return parser


def config_fields(given: dict[str, Any] | str) -> dict[str, Any]:
    """Fields of the config, from the command line or from a JSON file.

    Raises:
        UserError: if the file isn't JSON, or holds no fields.
    """
    if isinstance(given, dict):
        return given
    try:
        found = json.loads(Path(given).read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise UserError(f"--model.config {given!r} is neither JSON nor a JSON file ({error})") from error
    if not isinstance(found, dict):
        raise UserError(f"--model.config {given}: expected fields of the config, not a {type(found).__name__}")
    return found


@command("convert_checkpoint.py")
def main(argv: list[str] | None = None) -> None:
    options = build_parser().parse_args(argv)
    if options.to:
        print(export_mmseg(options.input, options.output))
        return
    given = options.model.config
    given = given.as_dict() if hasattr(given, "as_dict") else given
    print(convert_checkpoint(options.input, options.output, options.source, config_fields(given)))
    print(f"written: {options.output}")


if __name__ == "__main__":
    main()
