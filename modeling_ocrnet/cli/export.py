"""Export a checkpoint for ONNX Runtime, OpenVINO, or PyTorch without this package's code.

    ocrnet export runs/street_scenes/model --output exported/onnx --format onnx --data.name street_scenes
    ocrnet export MODEL --output exported/int8 --format openvino --precision int8 --images photos/

The export takes images of any size and number. Before it is put in place it is checked on the images given, or on those
of a dataset (--data.name, --data.root), where mIoU is compared too. It is refused if it agrees too little. Then:

    ocrnet predict exported/onnx photo.jpg
    ocrnet evaluate exported/int8 --data.name street_scenes
"""

import logging

from ..export.export_checkpoint import ExportArguments, export_checkpoint
from .parser import DATA_FIELDS, Parser, add_data_arguments, task_of
from .run import command


def build_parser() -> Parser:
    usage = "%(prog)s MODEL --output FOLDER --format FORMAT (--data.name DATASET | --images IMAGES) [options]"
    parser = Parser(usage=usage, description=__doc__)
    parser.add_argument("model", type=str, help="A checkpoint folder (a run's `model`) or a Hub repository.")
    about = "The folder to write; an export that is there is replaced."
    parser.add_option("--output", type=str, required=True, help=about)
    add_data_arguments(parser)
    parser.add_class_arguments(ExportArguments, skip=DATA_FIELDS)
    parser.spellings.positions, parser.spellings.gathers = (None, "--output"), ("--images",)
    return parser


@command("export.py")
def main(argv: list[str] | None = None) -> None:
    parser = build_parser()
    options = parser.instantiate(parser.parse_args(argv))
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("modeling_ocrnet").setLevel(logging.INFO)
    agreement = export_checkpoint(options.model, options.output, task_of(ExportArguments, options))
    print(f"{agreement}\nwritten: {options.output}")


if __name__ == "__main__":
    main()
