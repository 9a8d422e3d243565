"""Convert a checkpoint of mmsegmentation, the paper's authors, openseg.pytorch or timm to a folder of our own.

`python scripts/convert_checkpoint.py --help` says more."""

import _path  # noqa: F401

from modeling_ocrnet.cli.convert import main

if __name__ == "__main__":
    main()
