"""Measure, beside other implementations where their Python is given.

    python scripts/benchmark.py infer --peer /path/to/mmsegmentation/bin/python
    python scripts/benchmark.py train --peer /path/to/mmsegmentation/bin/python
    python scripts/benchmark.py metric --peer /path/to/mmsegmentation/bin/python
    python scripts/benchmark.py data --peer /path/to/mmsegmentation/bin/python
    python scripts/benchmark.py losses --peer /path/to/mmsegmentation/bin/python --output_dir runs/losses

infer, train, metric: a forward pass, a training step, a label map's count. data: training samples a second and core,
from PNG and from a memory-mapped store. JSON lines, then a table. losses: training on the same batches from the same
weights, here and in mmsegmentation, compared as scripts/compare_loss.py does.
"""

import _path  # noqa: F401

from benchmarks.data import data_benchmark
from benchmarks.losses import loss_benchmark
from benchmarks.speed import inference_benchmark, metric_benchmark, training_benchmark
from modeling_ocrnet.cli.parser import HelpFormatter, Parser
from modeling_ocrnet.cli.run import command

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
        command = Parser(description=function.__doc__.splitlines()[0], formatter_class=HelpFormatter)
        command.add_function_arguments(function)
        commands.add_subcommand(name, command)
    options = parser.parse_args(argv)
    COMMANDS[options.command](**options[options.command])


if __name__ == "__main__":
    main()
