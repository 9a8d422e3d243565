"""The examples in docstrings run as they are written, without a network."""

import doctest

import pytest
import torch
from helpers.tiny import tiny_config
from PIL import Image

import modeling_ocrnet
from modeling_ocrnet import HRNetBackbone, OCRNetForSemanticSegmentation, OCRNetImageProcessor
from modeling_ocrnet.fusion_ocrnet import fuse
from modeling_ocrnet.inference import Predictor
from modeling_ocrnet.training.freezing import keep_batch_norms_in_eval


@pytest.fixture
def street_scenes(tmp_path, monkeypatch):
    """Put a checkpoint and an image at the paths that the examples load."""
    torch.manual_seed(0)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs" / "street_scenes" / "model"
    OCRNetForSemanticSegmentation(tiny_config(num_labels=19)).save_pretrained(folder)
    size = {"shortest_edge": 128, "longest_edge": 256}
    OCRNetImageProcessor(do_resize=True, size=size).save_pretrained(folder)
    Image.new("RGB", (1024, 512), "grey").save(tmp_path / "street.png")


@pytest.mark.parametrize(
    "documented",
    [OCRNetForSemanticSegmentation.forward, HRNetBackbone.forward, fuse, Predictor, keep_batch_norms_in_eval],
    ids=lambda x: x.__qualname__,
)
def test_the_example_runs(documented, street_scenes):
    torch.manual_seed(0)
    finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner()
    (example,) = finder.find(documented, documented.__qualname__, module=modeling_ocrnet, globs={})
    result = runner.run(example)
    assert result.failed == 0
    assert result.attempted >= 3
