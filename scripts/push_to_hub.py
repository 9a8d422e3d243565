"""Share a checkpoint on the Hugging Face Hub. `python scripts/push_to_hub.py --help` says more."""

import _path  # noqa: F401

from modeling_ocrnet.cli.push import main

if __name__ == "__main__":
    main()
