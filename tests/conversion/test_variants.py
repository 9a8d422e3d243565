"""Every published variant, by name and shape: the original names (from timm and the fixtures) all find their place in
networks with the published number of parameters."""

from pathlib import Path

import pytest
from helpers import foreign_state_dicts

from modeling_ocrnet.conversion.convert import build, rename_weights
from modeling_ocrnet.conversion.loading import Checkpoint

timm = pytest.importorskip("timm")
WIDTHS = {"hrnet_w18_small_v2": 18, "hrnet_w18": 18, "hrnet_w48": 48}
MMSEG_SIZES = {"hrnet_w18_small_v2": 6_378_496, "hrnet_w18": 12_080_036, "hrnet_w48": 70_371_446}
R101_SIZE = 55_516_294
INPUT_BIASES = 512 + 15 * 48  # of the authors' two 3x3 convolutions, over HRNet-W48


def built(state, **kwargs):
    model, processor, report = build(Checkpoint(Path("published.pth"), state), **kwargs)
    assert len(report.mapped) + len(report.dropped) == len(state)
    assert not report.missing
    return model, processor


def size(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", MMSEG_SIZES)
def test_mmsegmentation(name):
    """Against the parameter counts of mmsegmentation's networks."""
    model, processor = built(foreign_state_dicts.mmseg_hrnet(name, WIDTHS[name]))
    assert size(model) == MMSEG_SIZES[name]
    assert (model.config.align_corners, model.config.backbone_config.fuse_upsample) == (False, "scale_factor")
    assert processor == {}


def test_mmsegmentation_resnet101():
    model, _ = built(foreign_state_dicts.mmseg_resnet101())
    assert size(model) == R101_SIZE
    assert (model.config.backbone_config.backbone, model.config.backbone_config.output_stride) == ("resnet101c", 8)
    assert (model.config.dropout, model.config.auxiliary_dropout) == (0.1, 0.1)
    read = [head.projection.conv.in_channels for head in (model.auxiliary_head, model.ocr_head)]
    assert read == [1024, 2048]  # stages 3 and 4


def test_authors():
    """Against mmsegmentation's parameter count and the biases that the authors' network has beside it."""
    model, processor = built(foreign_state_dicts.authors_hrnet("hrnet_w48", 48))
    assert size(model) == MMSEG_SIZES["hrnet_w48"] + INPUT_BIASES
    assert (model.config.align_corners, model.config.backbone_config.fuse_upsample) == (True, "size")
    assert processor == {"align_corners": True}


def test_openseg():
    """Against the settings of openseg's code, and those of its images."""
    model, processor = built(foreign_state_dicts.openseg_hrnet("hrnet_w48", 48))
    assert (model.config.auxiliary_kernel_size, model.config.attention_conv_bias) == (3, True)
    assert model.config.hidden_act == "relu"
    assert processor == {"align_corners": True, "do_flip_channel_order": True}


def test_openseg_resnet101():
    """Against the settings of openseg's code, and those of Caffe's images."""
    model, processor = built(foreign_state_dicts.openseg_resnet101())
    assert model.config.backbone_config.backbone == "resnet101s"
    assert model.config.pool_ceil_mode
    assert processor["image_mean"][0] < processor["image_mean"][2]  # Caffe's means, blue first
    assert processor["do_rescale"] is False


@pytest.mark.parametrize("name", ["w18_small_v2", "w18", "w30", "w32", "w40", "w44", "w48", "w64"])
def test_imagenet_hrnets(name):
    """Against the names and the number of parameters of timm's network without its classifier."""
    state = foreign_state_dicts.timm_state(f"hrnet_{name}")
    model, _ = built(state, source="hrnet" if name == "w18" else "auto")
    kept = foreign_state_dicts.without_classifier(state)
    assert size(model) == sum(v.numel() for k, v in kept.items() if "running" not in k and "batches" not in k)
    assert model.state_dict().keys() == kept.keys()


def test_imagenet_resnet101():
    """Against the names of timm's network without its classifier."""
    model, _ = built(foreign_state_dicts.timm_state("resnet101c"))
    assert model.config.backbone == "resnet101c"
    assert {k.removeprefix("_backbone.") for k in model.state_dict()} == set(
        foreign_state_dicts.without_classifier(foreign_state_dicts.timm_state("resnet101c"))
    )


def test_families_are_told_apart():
    states = {
        "mmsegmentation": foreign_state_dicts.mmseg_hrnet("hrnet_w18_small_v2", 18),
        "HRNet-Semantic-Segmentation": foreign_state_dicts.authors_hrnet("hrnet_w18_small_v2", 18),
        "openseg": foreign_state_dicts.openseg_hrnet("hrnet_w18_small_v2", 18),
        "ImageNet": foreign_state_dicts.timm_state("hrnet_w18_small_v2"),
    }
    for name, state in states.items():
        assert name in rename_weights(Checkpoint(Path("published.pth"), state)).origin
