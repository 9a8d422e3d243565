"""Export a checkpoint for ONNX Runtime, OpenVINO, or PyTorch without this package's code.

    python scripts/export.py runs/street_scenes/model exported/onnx --format onnx --name street_scenes
    python scripts/export.py runs/street_scenes/model exported/int8 --format openvino --precision int8 --images photos/

The export takes images of any size and number. It is checked before it is put in place: on the images given, or on
those of a dataset (--name, --root), where mIoU is compared too. What agrees too little is refused. Then:

    python scripts/predict.py exported/onnx photo.jpg
    python scripts/evaluate.py exported/int8 --name street_scenes
"""

import logging
from dataclasses import fields

from ..data.image_files import RULE
from ..export.export_checkpoint import ExportArguments, export_checkpoint
from .parser import HelpFormatter, Parser
from .run import command


@command("export.py")
def main(argv: list[str] | None = None) -> None:
    usage = "%(prog)s MODEL OUTPUT --format FORMAT (--name DATASET | --images IMAGE ...) [options]"
    parser = Parser(usage=usage, description=__doc__, formatter_class=HelpFormatter)
    parser.add_argument("model", type=str, help="A checkpoint folder (<output_dir>/model) or a Hub repository.")
    parser.add_argument("output", type=str, help="The folder to write; an export that is there is replaced.")
    parser.add_argument(
        "--images",
        nargs="+",
        default=[],
        help=f"Images, folders or glob patterns to check it on instead of a dataset: there is no mIoU then. {RULE}",
    )
    parser.add_class_arguments(ExportArguments, skip={"images"})
    options = parser.instantiate(parser.parse_args(argv))
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("modeling_ocrnet").setLevel(logging.INFO)
    task = ExportArguments(**{field.name: options.pop(field.name) for field in fields(ExportArguments)})
    agreement = export_checkpoint(options.model, options.output, task)
    print(f"{agreement}\nwritten: {options.output}")


if __name__ == "__main__":
    main()
