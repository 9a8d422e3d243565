"""Crops too small for a batch norm: the check says so exactly where torch would raise in the first step."""

import re

import pytest
import torch
from helpers.reference import narrow_resnet
from helpers.tiny import tiny_config
from transformers import TimmBackboneConfig

from modeling_ocrnet import OCRNetConfig, OCRNetForSemanticSegmentation
from modeling_ocrnet.common.errors import UserError
from modeling_ocrnet.training import loop
from modeling_ocrnet.training.batch_norm_values import check_batch_norms

TINY = {"layers": (1, 1, 1, 1), "channels": (4, 8, 16, 32), "stem_width": 4}


def resnet(**fields) -> OCRNetConfig:
    """An OCRNet over a ResNet of stride 32, or of another."""
    pytest.importorskip("timm")
    backbone = TimmBackboneConfig(backbone=narrow_resnet("ocrnet_test_tiny_resnet", **TINY), **fields)
    return tiny_config(backbone_config=backbone, ocr_in_indices=[0], auxiliary_in_indices=[0])


def trains(config: OCRNetConfig, crop_size: tuple[int, int]) -> bool:
    """Whether the network itself, in training mode, takes one image of this size."""
    model = OCRNetForSemanticSegmentation(config).train()
    try:
        model(torch.rand(1, 3, *crop_size))
    except ValueError as error:
        if "Expected more than 1 value per channel when training" in str(error):
            return False
        raise
    return True


NETWORKS = {
    "hrnet": lambda: tiny_config(num_labels=5),
    "one class": lambda: tiny_config(num_labels=1),  # one region, whose batch norms get one value at any size
    "stride 32": lambda: resnet(out_indices=[4]),
    "dilated to stride 16": lambda: resnet(out_indices=[4], output_stride=16),
    "stage 3": lambda: resnet(out_indices=[3]),
}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("crop_size", [(16, 16), (32, 32), (33, 8), (64, 32)])
def test_it_refuses_what_torch_refuses(network, crop_size):
    config = NETWORKS[network]()
    if trains(config, crop_size):
        check_batch_norms(config, crop_size)
        return
    with pytest.raises(UserError, match=f"^data.crop_size is {crop_size[0]},{crop_size[1]} and ") as caught:
        check_batch_norms(config, crop_size)
    message = str(caught.value)
    assert "\n" not in message
    advised = re.search(r"--data.crop_size (\d+),(\d+) or larger", message)
    assert (advised is None) == (network == "one class")
    if advised:
        assert trains(config, (int(advised[1]), int(advised[2])))
    OCRNetForSemanticSegmentation(config).train()(torch.rand(2, 3, *crop_size))  # two images, as it also advises


@pytest.mark.parametrize(("network", "stride"), [("hrnet", 16), ("hrnet", 32), ("stride 32", 32), ("stage 3", 16)])
def test_the_stride_is_that_of_the_batch_norm(network, stride):
    """A crop as large as a map's stride leaves it one position; the finest such map is met first."""
    with pytest.raises(UserError, match=rf"\(stride {stride}\) one value per channel"):
        check_batch_norms(NETWORKS[network](), (stride, stride))


def test_training_says_so_before_it_reads_data(quick_recipe, monkeypatch):
    recipe = quick_recipe(micro_batch=1, global_batch=1)
    recipe.data.crop_size = (32, 32)
    monkeypatch.setattr("modeling_ocrnet.training.build.build_data", None)
    with pytest.raises(UserError, match="give --micro_batch 2 or more .*, or --data.crop_size 64,64 or larger"):
        loop.train(recipe)
