"""Evaluate a checkpoint. `python scripts/evaluate.py --help` says more."""

import _path  # noqa: F401

from modeling_ocrnet.cli.evaluate import main

if __name__ == "__main__":
    main()
