"""Measure OCRNet on an accelerator, in eight minutes and without network access.

    python benchmarks/gpu.py --output runs/gpu            # on a machine with an accelerator
    python benchmarks/gpu.py --output runs/tiny --tiny    # the same script on a CPU, with tiny sizes, in two minutes

The parts are: the device and its peak speed; the tests marked `gpu`; training steps; inference; traces; waits of the
training loop; torch.compile. Each part has a separate process and a share of the time, so one that fails or is stopped
doesn't end the others. The exit code is 1 if a part failed. The output folder then holds report.md, results.json,
log.txt and traces.

It needs this checkout, torch 2.6 or newer, transformers 5.17 or newer and numpy. The tests and the loop also need
accelerate, datasets, evaluate, opencv-python-headless, Pillow, psutil, PyYAML, safetensors, torchvision and tqdm; the
tests also need pytest. A part with missing packages is skipped and reported. If the machine can't download packages,
copy them as wheels, e.g. those that GPU machines often lack, for Python 3.12:

    pip download --no-deps --only-binary=:all: --python-version 3.12 -d wheels datasets evaluate dill multiprocess
    pip install --no-index --no-deps --target site wheels/*.whl && export PYTHONPATH=$PWD/site    # there
"""

import argparse
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main(argv: list[str] | None = None) -> int:
    from benchmarks.accelerator.run import PARTS, run_parts
    from benchmarks.accelerator.settings import Settings

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="the folder of the report")
    parser.add_argument("--minutes", type=float, default=8.0, help="time limit of all parts together (default: 8)")
    parser.add_argument("--parts", nargs="+", choices=[x.name for x in PARTS], help="run only these parts")
    parser.add_argument("--tiny", action="store_true", help="run on the CPU with tiny sizes, to test the script")
    options = parser.parse_args(argv)
    output = options.output.resolve()
    if options.tiny:
        os.environ["ACCELERATE_USE_CPU"] = "true"
    settings = Settings.for_cpu(output) if options.tiny else Settings(output)
    parts = [x for x in PARTS if options.parts is None or x.name in options.parts]
    outcomes = run_parts(parts, settings, options.minutes)
    print(f"report: {output / 'report.md'}")
    failed = [x.name for x in outcomes if x.status == "failed"]
    if failed:
        print(f"failed: {', '.join(failed)}")
    if all(x.status == "skipped" for x in outcomes):
        print(f"no part could be run here ({outcomes[0].reason}): to test the script on a CPU, add --tiny")
        return 1
    return int(bool(failed))


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # libraries read it when they are imported
    sys.path[0] = str(ROOT)  # instead of this folder, whose data.py would hide other modules of that name
    sys.exit(main())
