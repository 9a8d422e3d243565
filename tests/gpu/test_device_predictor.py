"""From an image to its label map: on the device as on the CPU."""

import copy

import numpy as np
import pytest
import torch
from helpers.tiny import undecided
from PIL import Image

from modeling_ocrnet import OCRNetImageProcessor
from modeling_ocrnet.inference import Predictor
from modeling_ocrnet.inference.segmentation import InferenceOptions, segment

OPTIONS = {
    "whole": InferenceOptions(),
    "windows": InferenceOptions(window=(64, 96), stride=(32, 64)),
    "mirrored, two scales": InferenceOptions(scales=(1.0, 1.5), flip=True),
}


@pytest.mark.parametrize("name", list(OPTIONS))
@pytest.mark.parametrize(("precision", "share"), [("fp32", 0.999), ("bf16", 0.8)])
def test_label_maps(device, network, precision, share, name, tmp_path, fresh_accelerator, record_property):
    """The share of pixels that get the CPU's class; where two classes are as likely, rounding decides."""
    pixels = np.random.default_rng(0).integers(0, 256, (16, 32, 3), np.uint8)
    image = Image.fromarray(pixels).resize((256, 128), Image.Resampling.BICUBIC)
    processor = OCRNetImageProcessor()
    model = undecided(network.eval(), processor(image, return_tensors="pt")["pixel_values"][0])
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    expected = segment(copy.deepcopy(model), processor, [image], OPTIONS[name])[0]
    predictor = Predictor(tmp_path, engine="torch", precision=precision, options=OPTIONS[name])
    assert predictor.model.device.type == device.type
    found = predictor(image)
    agreeing = float((found == expected).mean())
    record_property("agreeing", f"{agreeing:.5f} (at least {share})")
    assert len(np.unique(expected)) > 2  # or it would be easy
    assert found.dtype == np.uint8
    assert agreeing >= share


def test_warmup_leaves_the_results_alone(device, network, tmp_path, fresh_accelerator):
    """Without compiling, which takes minutes."""
    network.eval().save_pretrained(tmp_path)
    OCRNetImageProcessor().save_pretrained(tmp_path)
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    predictor = Predictor(tmp_path, engine="torch", precision="fp32")
    before = predictor(image)
    assert np.array_equal(before, predictor.warmup((64, 96), compile=False)(image))
    assert torch.is_grad_enabled()
