"""Export a checkpoint for ONNX Runtime, OpenVINO, or PyTorch without this package's code.

`python scripts/export.py --help` says more."""

import _path  # noqa: F401

from modeling_ocrnet.cli.export import main

if __name__ == "__main__":
    main()
