"""Kill a run again and again, and see whether anything is lost.

    python tests/kill_and_resume.py --kills 24 --processes 1 --seed 0
    python tests/kill_and_resume.py --kills 24 --processes 2 --seed 0

A tiny network is trained without a disturbance, then again with `kill -9` of all its processes (data workers too) and
--resume auto each time: first at each of the places where it would hurt (POINTS in helpers/crash_points.py), then at
random moments. All samples, losses and scores, and the weights that a run ends with, must be those of the undisturbed
run, to the bit. A run that reached its end is compared, and another begun, until all kills are done.

One line a kill: what the main process was doing, and where the run went on. The exit code is 1 where anything differed.
"""

import argparse
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from helpers.kill_campaign import campaign


def main() -> int:
    parser = argparse.ArgumentParser(description=re.sub(r"\n\n(.*\n)*", "", __doc__))
    parser.add_argument("--kills", type=int, default=24)
    parser.add_argument("--processes", type=int, default=1, help="Training processes; each has two data workers.")
    parser.add_argument("--seed", type=int, default=0, help="Of the moments.")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="ocrnet-kills-"))
    os.environ["HF_HOME"] = str(folder / "cache")  # of the training processes, which are yet to be started
    print(f"seed {options.seed}, {options.kills} kills, {options.processes} processes", flush=True)
    try:
        work = campaign(folder, options.processes, options.seed)
        print(f"the undisturbed run took {work.seconds:.1f} s", flush=True)
        work.run(options.kills)
    finally:
        shutil.rmtree(folder)
    for line in work.differing:
        print(line)
    same = "identical" if not work.differing else "DIFFERENT"
    print(f"kills survived / tried: {work.survived} / {work.tried}; weights, samples, losses and scores: {same}")
    return int(bool(work.differing) or work.survived < work.tried)


if __name__ == "__main__":
    sys.exit(main())
