"""Segment images with a checkpoint. `python scripts/predict.py --help` says more."""

import _path  # noqa: F401

from modeling_ocrnet.cli.predict import main

if __name__ == "__main__":
    main()
