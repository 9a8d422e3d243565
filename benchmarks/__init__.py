"""Paired measurements beside other implementations, and what a card can tell.

They need a checkout of the repository: the wheel does not hold them. `python -m benchmarks --help`, in the checkout's
root, says more; so does `python scripts/benchmark.py --help`, anywhere.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

if not (ROOT / "setup.cfg").is_file() or not (ROOT / "modeling_ocrnet").is_dir():
    sys.exit(
        f"{Path(__file__).parent}: benchmarks need a checkout of the repository around them: clone it, run them there"
    )
