"""Convert a checkpoint of mmsegmentation, the paper's authors, openseg.pytorch or timm to a folder of our own.

    ocrnet convert ocrnet_hr48_512x1024_160k_cityscapes.pth --output converted/hr48
    ocrnet predict converted/hr48 photo.jpg

The family and the architecture are read from the weights; no code in the file runs. The folder holds config, weights,
image processor and model card. Give what the weights don't show as fields of the config: --model.config.dropout 0.1.
To convert back, for comparisons:

    ocrnet convert runs/street_scenes/model --output ocrnet.pth --to mmseg
"""

from typing import Any, Literal

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
    parser.add_option("--model.config", type=dict[str, Any], default={}, sub_configs=True, help=about)
    parser.add_option("--to", type=Literal["mmseg"] | None, help="Convert back.")
    parser.spellings.renamed["--config"] = "--model.config"
    parser.spellings.positions = (None, "--output")
    return parser


@command("convert_checkpoint.py")
def main(argv: list[str] | None = None) -> None:
    options = build_parser().parse_args(argv)
    if options.to:
        print(export_mmseg(options.input, options.output))
        return
    fields = {key: value for key, value in options.model.config.items() if key != "__path__"}
    print(convert_checkpoint(options.input, options.output, options.source, fields))
    print(f"written: {options.output}")


if __name__ == "__main__":
    main()
