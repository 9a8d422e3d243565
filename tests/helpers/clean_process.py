"""A Python process that can't import modeling_ocrnet, as on somebody else's machine."""

import os
import subprocess
import sys
from pathlib import Path

_HIDE_THE_PACKAGE = f"""
import importlib.util, sys
sys.path = [p for p in sys.path if p not in ("", {str(Path(__file__).parents[2])!r})]
sys.meta_path = [f for f in sys.meta_path if "editable" not in str(f).lower()]
assert importlib.util.find_spec("modeling_ocrnet") is None
"""


def run_without_the_package(code: str, folder: Path, environment: dict[str, str] | None = None) -> str:
    """Run code in `folder`, with caches of its own and, unless the environment says otherwise, offline.

    Returns:
        What it wrote to stderr.
    """
    inherited = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "HF_TOKEN")}
    variables = {"HF_HOME": str(folder / "hf_home"), "OMP_NUM_THREADS": "1", **(environment or {})}
    done = subprocess.run(
        [sys.executable, "-c", _HIDE_THE_PACKAGE + code],
        cwd=folder,
        env=inherited | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr
