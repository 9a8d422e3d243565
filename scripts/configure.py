"""Write a recipe for your data and this machine. `python scripts/configure.py --help` says more."""

import _path  # noqa: F401

from modeling_ocrnet.cli.configure import main

if __name__ == "__main__":
    main()
