"""A checkpoint of version 0.1, before `loss_average` was renamed: today's code loads it, and its own still runs."""

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch
from helpers.clean_process import run_without_the_package
from safetensors.torch import load_file
from transformers import AutoModelForSemanticSegmentation

from modeling_ocrnet import OCRNetConfig, OCRNetForSemanticSegmentation, OCRNetImageProcessor, __version__

FOLDER = Path(__file__).parent / "fixtures" / "checkpoint_0.1"


@pytest.fixture
def expected():
    return load_file(FOLDER / "expected.safetensors")


@pytest.mark.parametrize("kind", [OCRNetForSemanticSegmentation, AutoModelForSemanticSegmentation])
def test_todays_code_computes_the_same(kind, expected):
    """Bit for bit but for the order of sums: in the attention, and in the class-weighted loss."""
    model, report = kind.from_pretrained(FOLDER, output_loading_info=True)
    assert type(model) is OCRNetForSemanticSegmentation
    assert not any(report.values())
    with torch.no_grad():
        output = model.eval()(expected["pixel_values"], labels=expected["labels"].long())
    torch.testing.assert_close(output.logits, expected["logits"], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(output.loss[None], expected["loss"], rtol=1e-5, atol=1e-6)


def test_its_config_and_image_processor_mean_the_same():
    config = OCRNetConfig.from_pretrained(FOLDER)
    assert config.loss_normalizer == "valid"
    assert config.class_weights == [0.5, 2.0, 1.0]
    assert config.id2label == {0: "road", 1: "car", 2: "tree"}
    assert config.palette[1] == [0, 0, 142]
    assert config.modeling_ocrnet_version is None  # it wasn't written yet
    assert OCRNetImageProcessor.from_pretrained(FOLDER).value_range == [0, 4095]


def test_the_old_name_is_said_once_and_never_written(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    logging.getLogger("modeling_ocrnet.configuration_ocrnet").warning_once.__func__.cache_clear()
    with caplog.at_level(logging.WARNING):
        configs = [OCRNetConfig.from_pretrained(FOLDER), OCRNetConfig(loss_average="valid")]
    said = [x.getMessage() for x in caplog.records if "loss_average" in x.getMessage()]
    assert said == ["loss_average is now called loss_normalizer, and is saved under that name"]
    for config in configs:
        config.save_pretrained(tmp_path)
        written = json.loads((tmp_path / "config.json").read_text())
        assert (written["loss_normalizer"], "loss_average" in written) == ("valid", False)
        assert written["modeling_ocrnet_version"] == __version__
    assert OCRNetConfig.from_pretrained(tmp_path).modeling_ocrnet_version == __version__


def test_a_wish_of_today_wins_over_an_old_file_and_two_wishes_may_not_contradict():
    assert OCRNetConfig.from_pretrained(FOLDER, loss_normalizer="all").loss_normalizer == "all"
    with pytest.raises(ValueError, match="loss_normalizer is valid, but its old name loss_average is all"):
        OCRNetConfig(loss_normalizer="valid", loss_average="all")


@pytest.mark.slow
def test_its_own_code_still_runs_without_the_package(tmp_path):
    shutil.copytree(FOLDER, tmp_path / "checkpoint")
    code = """
import torch
from safetensors.torch import load_file
from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation
model = AutoModelForSemanticSegmentation.from_pretrained("checkpoint", trust_remote_code=True).eval()
assert type(model).__module__.startswith("transformers_modules"), type(model)
assert type(AutoImageProcessor.from_pretrained("checkpoint", trust_remote_code=True)).__name__ == "OCRNetImageProcessor"
expected = load_file("checkpoint/expected.safetensors")
torch.testing.assert_close(model(expected["pixel_values"]).logits, expected["logits"], rtol=1e-5, atol=1e-6)
"""
    run_without_the_package(code, tmp_path)
