"""Compare the losses of two training runs.

    ocrnet compare-loss --candidate sdaa.log --baseline cuda.log --plot loss.jpg

Reads the SDAA model zoo's TCAPPDLL lines, mmengine's logs (text and JSON) and our metrics.jsonl, and pairs losses by
step. Prints the verdict in the model zoo's own words, and the figures that its rule hides. The exit code is 1 if the
rule fails; with --strict, if the mean |relative error| is above 5%.
"""

import sys
from pathlib import Path

from ..interop.loss_comparison import compare, describe, draw
from ..interop.loss_logs import read_losses
from .parser import Parser
from .run import command


def build_parser() -> Parser:
    parser = Parser(usage="%(prog)s --candidate LOG --baseline LOG [options]", description=__doc__)
    parser.add_option("--candidate", type=str, required=True, help="Log of the run to check.")
    parser.add_option("--baseline", type=str, required=True, help="Log of the run that it should agree with.")
    parser.add_option("--plot", type=str | None, help="Draw both curves and their difference into this file.")
    about = "Pass only if the mean |relative error| is at most 5%."
    parser.add_option("--strict", type=bool, default=False, help=about)
    return parser


@command("compare_loss.py")
def main(argv: list[str] | None = None) -> None:
    options = build_parser().parse_args(argv)
    comparison = compare(read_losses(Path(options.candidate)), read_losses(Path(options.baseline)))
    print(describe(comparison))
    if options.plot:
        draw(comparison, Path(options.plot))
    sys.exit(not (comparison.passes_strictly() if options.strict else comparison.passes_model_zoo()))


if __name__ == "__main__":
    main()
