"""Backbones of timm by their names: maps, weights from files, and what is refused."""

import json

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoBackbone

from modeling_ocrnet import OCRNetConfig, OCRNetForSemanticSegmentation
from modeling_ocrnet.conversion.backbone_maps import fields_over
from modeling_ocrnet.conversion.backbone_normalisation import normalisation
from modeling_ocrnet.conversion.backbone_weights import load_backbone
from modeling_ocrnet.conversion.named_backbone import find_backbone

timm = pytest.importorskip("timm")
PATCH = {"test_vit": 16}
NETWORKS = ("test_resnet", "test_convnext", *PATCH)


def build(name, **fields):
    heads = {"ocr_channels": 16, "key_channels": 8, "pyramid_channels": 12}
    return OCRNetForSemanticSegmentation(OCRNetConfig(**fields_over(find_backbone(name), fields, heads))).eval()


def trained(network):
    """Random norms and statistics too."""
    with torch.no_grad():
        for x in network.parameters():
            x.add_(0.05 * torch.randn_like(x))
    return network.eval()


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("classes", [1000, 7, 0])
def test_maps_are_those_of_timms_network_with_the_same_weights(name, classes, tmp_path):
    """Whatever classifier the weights come with."""
    original = trained(timm.create_model(name, num_classes=classes, dynamic_img_size=name in PATCH or None))
    save_file(original.state_dict(), tmp_path / "weights.safetensors")
    model = build(name)
    load_backbone(model.backbone, str(tmp_path / "weights.safetensors"))
    images = torch.randn(1, 3, 96, 160)
    with torch.no_grad():
        found = model.backbone(images).feature_maps
        every = original.forward_intermediates(images, intermediates_only=True)
    expected = every[-1:] if name in PATCH else every[-4:]
    assert [tuple(x.shape) for x in found] == [tuple(x.shape) for x in expected]
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    assert model.config.pyramid_stride == PATCH.get(name)
    # ConvNeXt's patches of 4x4 pixels leave out what is left of the image
    assert model(torch.randn(1, 3, 65, 101)).logits.shape[-2:] == ((16, 25) if name == "test_convnext" else (17, 26))


def test_a_folder_as_timm_writes_it(tmp_path):
    original = trained(timm.create_model("test_convnext"))
    save_file(original.state_dict(), tmp_path / "model.safetensors")
    described = {"architecture": "test_convnext", "pretrained_cfg": {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}}
    (tmp_path / "config.json").write_text(json.dumps(described))
    model = build(str(tmp_path))
    load_backbone(model.backbone, str(tmp_path))
    expected = timm.create_model("test_convnext", features_only=True)
    assert model.backbone.config.backbone == "test_convnext"
    values = dict(zip(expected.state_dict(), model.backbone.state_dict().values(), strict=True))
    torch.testing.assert_close(values["stem_0.weight"], original.stem[0].weight, rtol=0, atol=0)
    assert normalisation(str(tmp_path), str(tmp_path)) == {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}


@pytest.mark.parametrize("change", ["missing", "shape", "unexpected", "nan", "other network"])
def test_weights_that_do_not_fit_are_refused(change, tmp_path):
    """timm alone would load what fits, and leave the rest at random."""
    state = timm.create_model("test_resnet" if change == "other network" else "test_convnext").state_dict()
    key = "stages.1.blocks.0.mlp.fc1.weight"
    if change == "missing":
        del state[key]
    elif change == "shape":
        state[key] = state[key][:-1].clone()
    elif change == "unexpected":
        state["stages.9.weight"] = torch.zeros(3)
    elif change == "nan":
        state[key] = torch.full_like(state[key], torch.nan)
    save_file(state, tmp_path / "weights.safetensors")
    message = "holds nan" if change == "nan" else "weights.safetensors: not the weights of timm's test_convnext"
    with pytest.raises(ValueError, match=message):
        load_backbone(build("test_convnext").backbone, str(tmp_path / "weights.safetensors"))


def test_timms_means_are_found_without_a_network():
    """Its test networks were trained with 0.5, which isn't ImageNet's mean."""
    for name in ("test_vit", "timm/test_vit.r160_in1k"):
        assert normalisation(name, name) == {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    assert normalisation("test_vit", None) == {}


@pytest.mark.parametrize("name", ["test_vit", "test_convnext"])
def test_the_saved_config_builds_the_same_network(name, tmp_path):
    model = build(name)
    model.save_pretrained(tmp_path)
    again = OCRNetForSemanticSegmentation.from_pretrained(tmp_path).eval()
    images = torch.randn(1, 3, 65, 101)
    with torch.no_grad():
        torch.testing.assert_close(again(images).logits, model(images).logits, rtol=0, atol=0)


def test_fields_of_the_backbone_win():
    """An output stride of 8: as r101-d8's."""
    model = build("test_resnet", output_stride=8, out_indices=[2, 3, 4])
    assert model.config.ocr_in_indices == [0, 1, 2]
    assert model(torch.zeros(1, 3, 64, 96)).logits.shape[-2:] == (8, 12)
    alone = AutoBackbone.from_config(model.backbone.config)
    assert alone.channels == model.backbone.channels


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("swin_tiny_patch4_window7_224", "can't segment images of any size.*microsoft/swin-tiny-patch4-window7-224"),
        ("beit_base_patch16_224", "can't segment images of any size.*transformers' own Swin and BEiT"),
        ("convnext_tniy", "'convnext_tniy' is unknown .did you mean convnext_tiny "),
        ("timm/convnext_tiny.in12k", None),
        ("timm/convnext_tiny.in13k", "timm has no such weights .did you mean convnext"),
        ("hrnet_w18", "is hr18 here: give --model.variant hr18 --model.backbone timm/hrnet_w18.ms_in1k"),
        ("timm/hrnet_w48.ms_in1k", "is hr48 here: .* --model.backbone timm/hrnet_w48.ms_in1k"),
        ("hrnet_w18_small_v2", "is hr18s here"),
        ("hrnet_w40", "isn't one of OCRNet's"),
    ],
)
def test_names(name, message):
    if message is None:
        assert find_backbone(name).source == "convnext_tiny.in12k"
        return
    with pytest.raises(ValueError, match=message):
        fields_over(find_backbone(name), {}, {})
