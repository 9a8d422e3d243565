"""Convert a checkpoint of mmsegmentation, the paper's authors, openseg.pytorch or timm to a folder of our own.

    ocrnet convert ocrnet_hr48_512x1024_160k_cityscapes.pth --output converted/hr48
    ocrnet predict converted/hr48 photo.jpg

The family and the architecture are read from the weights; no code in the file runs. The folder holds config, weights,
image processor and model card. Give what the weights don't show as fields of the config: --model.config.dropout 0.1.
To convert back, for comparisons:

    ocrnet convert runs/street_scenes/model --output ocrnet.pth --to mmseg
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml

from ..common.errors import UserError, reason
from ..conversion.convert import FAMILIES, convert_checkpoint, export_mmseg
from ..training.recipe_file import read_recipe
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


def placed_fields(argv: Sequence[str]) -> dict[str, tuple[str, Any]]:
    """The fields that `--model.config` gives on a command line, each with its place: a file, or the option itself.

    Raises:
        UserError: if a file, or what stands in its place, isn't a mapping of fields.
    """
    found: dict[str, tuple[str, Any]] = {}
    for text in argv:
        option, equals, value = text.partition("=")
        if option != "--model.config" or not equals:
            continue
        if value.lstrip()[:1] in ("{", "["):
            place, fields = option, read_fields(value, option)
        elif not Path(value).exists():
            raise UserError(
                f"{option} {value}: no such file; give a JSON or YAML file of fields, or single ones as in "
                f"{option}.dropout 0.1"
            )
        else:
            place, fields = value, read_recipe(Path(value), "a JSON or YAML file of the config's fields")
        found |= {key: (place, of_field) for key, of_field in fields.items()}
    return found


def read_fields(text: str, option: str) -> dict[str, Any]:
    """The fields of a mapping on the command line.

    Raises:
        UserError: if it isn't one.
    """
    try:
        fields = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{option} {text}: neither JSON nor YAML ({reason(error)})") from error
    if not isinstance(fields, dict):
        raise UserError(f"{option} {text}: expected fields and values, as in '{{dropout: 0.1}}'")
    return fields


@command("convert_checkpoint.py")
def main(argv: list[str] | None = None) -> None:
    parser, argv = build_parser(), sys.argv[1:] if argv is None else argv
    try:
        given = parser.spellings.translate(argv, lambda _: None)
    except UserError as error:
        parser.error(str(error))
    placed = placed_fields(given)
    options = parser.parse_args(argv)
    if options.to:
        print(export_mmseg(options.input, options.output))
        return
    fields = {key: value for key, value in options.model.config.items() if key != "__path__"}
    # a later option may have replaced a field of a file
    places = {key: place for key, (place, value) in placed.items() if fields.get(key) == value}
    print(convert_checkpoint(options.input, options.output, options.source, fields, places))
    print(f"written: {options.output}")


if __name__ == "__main__":
    main()
