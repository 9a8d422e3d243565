"""Train OCRNet. `python scripts/train.py --help` says more."""

import _path  # noqa: F401

from modeling_ocrnet.cli.train import main

if __name__ == "__main__":
    main()
