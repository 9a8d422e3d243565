"""Measure, beside other implementations. `python scripts/benchmark.py --help` says more."""

import sys
from pathlib import Path

import _path  # noqa: F401

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # benchmarks are never installed

from benchmarks.__main__ import main

if __name__ == "__main__":
    main()
