"""Get data ready, and look at it. `python scripts/prepare_data.py --help` says more."""

import _path  # noqa: F401

from modeling_ocrnet.cli.data import main

if __name__ == "__main__":
    main()
