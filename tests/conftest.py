"""Shared by all tests: caches in a temporary folder, and a small tree of street scenes."""

import os
import tempfile

# before any Hugging Face library is imported: no test may touch the user's caches, or the network
os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="ocrnet-tests-")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLCONFIGDIR"] = os.environ["HF_HOME"]

import shutil

import pytest
import torch


def pytest_addoption(parser):
    parser.addoption("--gpu-on-cpu", action="store_true", help="run the tests marked gpu on the CPU, with tiny sizes")


def pytest_sessionfinish():
    shutil.rmtree(os.environ["HF_HOME"], ignore_errors=True)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def scenes(tmp_path_factory):
    """A few small street scenes in Cityscapes' tree. Don't change them: copy the folder first."""
    from street_scenes import write_street_scenes

    root = tmp_path_factory.mktemp("scenes") / "street_scenes"
    write_street_scenes(root, train=10, val=3, size=(64, 128), seed=1)
    return root
