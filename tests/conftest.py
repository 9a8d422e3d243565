"""Shared by all tests: caches in a temporary folder, and a small tree of street scenes."""

import os
import tempfile

# before any Hugging Face library is imported: no test may touch the user's caches, or the network
os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="ocrnet-tests-")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLCONFIGDIR"] = os.environ["HF_HOME"]
# before torch is imported: more threads wait for each other in networks this small, and several pytest processes share
# the cores; "01" is one thread too, but the training loop takes "1" for a launcher's default, which it doesn't keep
if os.environ.get("OMP_NUM_THREADS", "1") == "1":
    os.environ["OMP_NUM_THREADS"] = "01"

import gc
import logging
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.process_state import changes, process_state, processes_left

TESTS = Path(__file__).parent
MARKED_FOLDERS = ("export", "gpu", "security")  # all of their tests have the folder's marker


def pytest_addoption(parser):
    parser.addoption("--gpu-on-cpu", action="store_true", help="run the tests marked gpu on the CPU, with tiny sizes")


def pytest_sessionfinish():
    shutil.rmtree(os.environ["HF_HOME"], ignore_errors=True)


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items):
    for item in items:
        folder = item.path.relative_to(TESTS).parts[0]
        if folder in MARKED_FOLDERS:
            item.add_marker(folder)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)


@pytest.fixture(scope="session", autouse=True)
def _no_process_is_left():
    """The last test fails if processes that tests started are still there."""
    yield
    gc.collect()  # data loaders whose workers wait for them to go
    assert processes_left(seconds=10) == []


@pytest.fixture(autouse=True)
def _logging_is_as_before():
    """Commands and runs set it up for their process, which they have to themselves elsewhere."""
    loggers = [logging.getLogger(), logging.getLogger("modeling_ocrnet")]
    before = [(x.handlers[:], x.level, x.propagate) for x in loggers]
    yield
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        for handler in logger.handlers[:]:
            if handler not in handlers:
                logger.removeHandler(handler)
                handler.close()
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)


@pytest.fixture(autouse=True)
def _nothing_leaks():
    """A test fails if the process isn't afterwards as it was before."""
    before = process_state()
    yield
    assert changes(before, process_state()) == []


@pytest.fixture(scope="session")
def scenes(tmp_path_factory):
    """A few small street scenes in Cityscapes' tree. Don't change them: copy the folder first."""
    from street_scenes import write_street_scenes

    root = tmp_path_factory.mktemp("scenes") / "street_scenes"
    write_street_scenes(root, train=10, val=3, size=(64, 128), seed=1)
    return root
