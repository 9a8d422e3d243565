"""Benchmark this project, and other implementations if their Python is given.

    python -m benchmarks infer --peer /path/to/mmsegmentation/bin/python
    python -m benchmarks train --peer /path/to/mmsegmentation/bin/python
    python -m benchmarks metric --peer /path/to/mmsegmentation/bin/python
    python -m benchmarks data --peer /path/to/mmsegmentation/bin/python
    python -m benchmarks losses --peer /path/to/mmsegmentation/bin/python --output_dir runs/losses

infer, train and metric time a forward pass, a training step, and the metric's count of a label map. data measures
training samples per second and core, from PNG files and from a memory-mapped store. These print JSON lines, then a
table. losses trains on the same batches from the same weights, here and in mmsegmentation, and compares the losses as
scripts/compare_loss.py does.

Run it in the root of a checkout; `python scripts/benchmark.py` is the same command and works from anywhere.
"""

from modeling_ocrnet.cli.parser import HelpFormatter, Parser
from modeling_ocrnet.cli.run import command

from .data import data_benchmark
from .losses import loss_benchmark
from .speed import inference_benchmark, metric_benchmark, training_benchmark

COMMANDS = {
    "infer": inference_benchmark,
    "train": training_benchmark,
    "metric": metric_benchmark,
    "data": data_benchmark,
    "losses": loss_benchmark,
}


@command("benchmark.py")
def main(argv: list[str] | None = None) -> None:
    parser = Parser(description=__doc__, formatter_class=HelpFormatter)
    commands = parser.add_subcommands(dest="command")
    for name, function in COMMANDS.items():
        parser_of_one = Parser(description=function.__doc__.splitlines()[0], formatter_class=HelpFormatter)
        parser_of_one.add_function_arguments(function)
        commands.add_subcommand(name, parser_of_one)
    options = parser.parse_args(argv)
    COMMANDS[options.command](**options[options.command])


if __name__ == "__main__":
    main()
