"""Paired benchmarks against other implementations, and measurements on an accelerator.

They need a checkout of the repository; the wheel doesn't contain them. For details run `python -m benchmarks --help` in
the checkout's root, or `python scripts/benchmark.py --help` anywhere.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

if not (ROOT / "setup.cfg").is_file() or not (ROOT / "modeling_ocrnet").is_dir():
    sys.exit(f"{Path(__file__).parent}: benchmarks need a checkout of the repository: clone it, and run them there")
