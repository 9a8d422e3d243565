"""Compare the losses of two training runs.

    python scripts/compare_loss.py --candidate sdaa.log --baseline cuda.log --plot loss.jpg

Reads the SDAA model zoo's TCAPPDLL lines, mmengine's logs (text and JSON) and our metrics.jsonl, pairs them by update,
and prints the model zoo's verdict as its own check does, and beside it what that rule hides. Exit code 1 where it
fails; with --strict, where the mean |relative error| is above 5%.
"""

import argparse
import sys
from pathlib import Path

from ..interop.loss_comparison import compare, describe, draw
from ..interop.loss_logs import read_losses
from .run import command


@command("compare_loss.py")
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidate", type=Path, required=True, help="Log of the run to check.")
    parser.add_argument("--baseline", type=Path, required=True, help="Log of the run that it should agree with.")
    parser.add_argument("--plot", type=Path, help="Draw both curves and their difference into this file.")
    parser.add_argument("--strict", action="store_true", help="Pass only if the mean |relative error| is at most 5%%.")
    options = parser.parse_args(argv)
    comparison = compare(read_losses(options.candidate), read_losses(options.baseline))
    print(describe(comparison))
    if options.plot:
        draw(comparison, options.plot)
    sys.exit(not (comparison.passes_strictly() if options.strict else comparison.passes_model_zoo()))


if __name__ == "__main__":
    main()
