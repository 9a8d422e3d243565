"""Compare the losses of two training runs. `python scripts/compare_loss.py --help` says more."""

import _path  # noqa: F401

from modeling_ocrnet.cli.compare_loss import main

if __name__ == "__main__":
    main()
