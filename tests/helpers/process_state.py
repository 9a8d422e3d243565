"""What belongs to a whole process: tests that change it must undo that, and processes of a test's own needn't."""

import contextlib
import multiprocessing
import os
import sys
from pathlib import Path

import psutil
import torch

# what changes by itself: pytest's own, and what torchvision, OpenCV, SciPy and scikit-learn set when they are imported
_OF_OTHERS = {
    "PYTEST_CURRENT_TEST",
    "TORCHINDUCTOR_CACHE_DIR",
    "LD_LIBRARY_PATH",
    "KMP_DUPLICATE_LIB_OK",
    "KMP_INIT_AT_FORK",
}


def process_state() -> dict[str, object]:
    """What every test must leave as it was, by name."""
    try:
        folder = str(Path.cwd())
    except FileNotFoundError:
        folder = "deleted"
    return {
        "the working directory": folder,
        # evaluate and transformers add the folder for code from the Hub below HF_HOME, setuptools one of its own
        "sys.path": [x for x in sys.path if not (x.startswith(os.environ["HF_HOME"]) or x.endswith("/_vendor"))],
        "torch's default dtype": torch.get_default_dtype(),
        "torch's number of threads": torch.get_num_threads(),
        "torch's grad mode": torch.is_grad_enabled(),
        "torch's deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        **{f"${name}": value for name, value in os.environ.items() if name not in _OF_OTHERS},
    }


def changes(before: dict[str, object], after: dict[str, object]) -> list[str]:
    """A line for each difference between two states; of variables only the names, since some are secret."""
    names = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    return [x if x.startswith("$") else f"{x}: {before.get(x)} before, {after.get(x)} after" for x in names]


def processes_left(seconds: float) -> list[str]:
    """Command lines of this process's children that haven't ended after so many seconds.

    The servers of `multiprocessing` and of torch's compiler, which end with this process, don't count; what the
    former have forked does.
    """
    left = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            words = " ".join(child.cmdline())
            if "multiprocessing.forkserver" in words or "multiprocessing.resource_tracker" in words:
                left += child.children()
            elif "torch/_inductor/compile_worker" not in words:
                left.append(child)
    _, alive = psutil.wait_procs(left, timeout=seconds)
    return [" ".join(x.cmdline()) or x.name() for x in alive if x.is_running()]


def replace_for_good(owner, name: str, value) -> None:
    """Set an attribute of a module or class for the rest of this process, which isn't the one that runs the tests.

    Raises:
        RuntimeError: in a process that wasn't started by `multiprocessing`; `monkeypatch` undoes what it does there.
    """
    if multiprocessing.parent_process() is None:
        raise RuntimeError(f"{name} would stay replaced for all tests that follow: use monkeypatch")
    setattr(owner, name, value)
