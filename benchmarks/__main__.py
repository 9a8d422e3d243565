"""Benchmark this project, and other implementations if their Python is given.

    python -m benchmarks infer --peer /path/to/mmsegmentation/bin/python
    python -m benchmarks train --peer /path/to/mmsegmentation/bin/python
    python -m benchmarks metric --peer /path/to/mmsegmentation/bin/python
    python -m benchmarks data --peer /path/to/mmsegmentation/bin/python
    python -m benchmarks losses --peer /path/to/mmsegmentation/bin/python --output runs/losses
    python -m benchmarks starting_weights --root /data/CamVid
    python -m benchmarks rare_classes --root /data/CamVid
    python -m benchmarks configured --root /data/CamVid
    python -m benchmarks frozen
    python -m benchmarks augmentations

infer, train and metric time a forward pass, a training step, and the metric's count of a label map. data measures
training samples per second and core, from PNG files and from a memory-mapped store. These print JSON lines, then a
table. losses trains on the same batches from the same weights, here and in mmsegmentation, and compares the losses as
scripts/compare_loss.py does. starting_weights trains short CamVid runs from scratch and from trained models,
rare_classes such runs with class weights, class-uniform sampling, Dice and RMI. configured trains by what
`ocrnet configure` writes, and by the default recipe for own data. frozen times a training step with a frozen backbone
beside a full one. augmentations times each augmentation on a crop.

Run it in the root of a checkout; `python scripts/benchmark.py` is the same command and works from anywhere.
"""

from modeling_ocrnet.cli.parser import Parser
from modeling_ocrnet.cli.run import choose_command, command

from .augmentations import augmentations_benchmark
from .configured import configured_benchmark
from .data import data_benchmark
from .frozen import frozen_benchmark
from .losses import loss_benchmark
from .rare_classes import rare_classes_benchmark
from .speed import inference_benchmark, metric_benchmark, training_benchmark
from .starting_weights import starting_weights_benchmark

COMMANDS = {
    "infer": inference_benchmark,
    "train": training_benchmark,
    "metric": metric_benchmark,
    "data": data_benchmark,
    "losses": loss_benchmark,
    "starting_weights": starting_weights_benchmark,
    "rare_classes": rare_classes_benchmark,
    "configured": configured_benchmark,
    "frozen": frozen_benchmark,
    "augmentations": augmentations_benchmark,
}


def build_parser(title: str) -> Parser:
    """The parser of one of COMMANDS."""
    function = COMMANDS[title]
    parser = Parser(prog=f"benchmark.py {title}", description=function.__doc__.splitlines()[0])
    parser.add_function_arguments(function)
    parser.spellings.renamed["--output_dir"] = "--output"
    return parser


@command("benchmark.py")
def main(argv: list[str] | None = None) -> None:
    title, argv = choose_command("benchmark.py", COMMANDS, __doc__, argv)
    COMMANDS[title](**build_parser(title).parse_args(argv).as_dict())


if __name__ == "__main__":
    main()
