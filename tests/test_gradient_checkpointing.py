"""Gradient checkpointing changes nothing but memory: over HRNet, and over backbones whose blocks know nothing of it."""

import copy
import pickle

import pytest
import torch
from helpers.backbones import BACKBONES, model_over
from helpers.tiny import tiny_config
from transformers import GradientCheckpointingLayer

from modeling_ocrnet import OCRNetForSemanticSegmentation
from modeling_ocrnet.gradient_checkpointing import enable_gradient_checkpointing


def model_with(name):
    if name == "hrnet":
        return OCRNetForSemanticSegmentation(tiny_config(num_labels=5))
    maps = 3 if name == "timm_resnet_stride_8" else 4
    return model_over(BACKBONES[name]()[0], list(range(maps)))


def passes(model):
    """How often each checkpointed block computes in a training step, by name."""
    counts = {}

    def count(name):
        def hook(*_):
            counts[name] = counts.get(name, 0) + 1

        return hook

    for name, block in model.backbone.named_modules():
        if isinstance(block, GradientCheckpointingLayer):
            layer = next(x for x in block.modules() if isinstance(x, (torch.nn.Conv2d, torch.nn.Linear)))
            layer.register_forward_pre_hook(count(name))
    return counts


def step(model):
    """A training step's results."""
    torch.manual_seed(0)
    pixel_values, labels = torch.randn(2, 3, 64, 96), torch.randint(0, 5, (2, 64, 96))
    loss = model(pixel_values, labels=labels).loss
    loss.backward()
    return {
        "loss": loss.detach(),
        **{f"gradient of {name}": x.grad for name, x in model.named_parameters() if x.grad is not None},
        **dict(model.named_buffers()),
    }


def assert_same_step(model, other):
    found, expected = step(model), step(other)
    assert found.keys() == expected.keys()
    for key in expected:
        torch.testing.assert_close(found[key], expected[key], rtol=1e-5, atol=1e-7, msg=key)


@pytest.mark.parametrize("name", ["hrnet", *BACKBONES])
def test_it_changes_nothing(name):
    """The same loss, gradients and running statistics: blocks run twice, but their statistics move once."""
    plain = model_with(name).train()
    checkpointed = copy.deepcopy(plain)
    enable_gradient_checkpointing(checkpointed)
    counts = {"plain": passes(plain), "checkpointed": passes(checkpointed)}
    assert_same_step(checkpointed, plain)
    assert counts["plain"] == dict.fromkeys(counts["plain"], 1)
    assert len(counts["plain"]) >= 4
    assert counts["checkpointed"].keys() == counts["plain"].keys()
    assert set(counts["checkpointed"].values()) <= {2, 3}  # Swin's blocks are in stages that are checkpointed too


def test_the_reentrant_kind_becomes_the_other_one():
    """It takes no contexts, so it would move the statistics twice."""
    plain = model_with("hrnet").train()
    checkpointed = copy.deepcopy(plain)
    if hasattr(checkpointed, "activation_checkpointing_enable"):
        checkpointed.activation_checkpointing_enable({"use_reentrant": True})
    else:
        checkpointed.gradient_checkpointing_enable({"use_reentrant": True})
    counts = passes(checkpointed)
    assert_same_step(checkpointed, plain)
    assert set(counts.values()) == {2}


@pytest.mark.parametrize("name", ["timm_mobilenetv3", "timm_resnet_stride_8"])
def test_blocks_keep_their_names_and_can_be_pickled(name):
    model = model_with(name).eval()
    blocks = [x for x in model.backbone.modules() if isinstance(x, GradientCheckpointingLayer)]
    assert {type(x).__name__ for x in blocks} <= {"BasicBlock", "InvertedResidual", "DepthwiseSeparableConv"}
    again = pickle.loads(pickle.dumps(model))
    pixel_values = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        assert torch.equal(again(pixel_values).logits, model(pixel_values).logits)


class InPlace(torch.nn.Module):
    """Blocks whose first layer changes their input, and whose norms are of other kinds."""

    channels = [8]

    def __init__(self):
        super().__init__()
        self.stem = torch.nn.Conv2d(3, 8, 4, 4)
        conv = torch.nn.Conv2d
        self.blocks = torch.nn.Sequential(
            *(
                torch.nn.Sequential(
                    torch.nn.ReLU(inplace=True),
                    conv(8, 8, 1),
                    torch.nn.InstanceNorm2d(8, track_running_stats=True),
                    conv(8, 8, 1),
                )
                for _ in range(2)
            )
        )
        self.norm = torch.nn.BatchNorm1d(8)

    def forward(self, x):
        x = self.blocks(self.stem(x) * 1)
        return [self.norm(x.flatten(2)).view(x.shape)]


def test_a_block_may_change_its_input_in_place():
    config = tiny_config(num_labels=5, ocr_in_indices=[0], auxiliary_in_indices=[0])
    torch.manual_seed(0)
    plain = OCRNetForSemanticSegmentation(config, backbone=InPlace()).train()
    checkpointed = copy.deepcopy(plain)
    enable_gradient_checkpointing(checkpointed)
    assert_same_step(checkpointed, plain)


class WithoutBlocks(torch.nn.Module):
    channels = [8]

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 4, 4)

    def forward(self, x):
        return [self.conv(x)]


def test_a_backbone_without_blocks_does_not_claim_it():
    config = tiny_config(num_labels=5, ocr_in_indices=[0], auxiliary_in_indices=[0])
    model = OCRNetForSemanticSegmentation(config, backbone=WithoutBlocks())
    assert not model.supports_gradient_checkpointing
    with pytest.raises(
        ValueError, match=r"OCRNetForSemanticSegmentation does not support gradient checkpointing, because"
    ):
        enable_gradient_checkpointing(model)
    assert model_with("swin").supports_gradient_checkpointing
