"""ImageNet weights: timm's networks, live, give the same features from the same weights."""

import pytest
import torch
from safetensors.torch import save_file

from modeling_ocrnet import HRNetBackbone, HRNetConfig
from modeling_ocrnet.configuration_ocrnet import VARIANTS
from modeling_ocrnet.conversion.imagenet_hrnet import load_imagenet_backbone

timm = pytest.importorskip("timm")
MODELS = {"hr18s": "hrnet_w18_small_v2", "hr18": "hrnet_w18", "hr48": "hrnet_w48"}


@pytest.mark.parametrize("variant", MODELS)
def test_agrees_with_timm(variant, tmp_path):
    """timm upsamples by nearest neighbour in the fuse layers; everything else is the same network."""
    original = timm.create_model(MODELS[variant], pretrained=False).eval()
    save_file(original.state_dict(), tmp_path / "model.safetensors")
    backbone = HRNetBackbone(HRNetConfig(**VARIANTS[variant], fuse_upsample="nearest")).eval()
    load_imagenet_backbone(backbone, str(tmp_path))

    pixel_values = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        expected = original.stages(original_stem(original, pixel_values))
        features = backbone(pixel_values).feature_maps
    for feature, target in zip(features, expected, strict=True):
        torch.testing.assert_close(feature, target, rtol=1e-4, atol=1e-4 * target.abs().max().item())


def original_stem(model, x):
    x = model.act1(model.bn1(model.conv1(x)))
    return model.act2(model.bn2(model.conv2(x)))


@pytest.fixture
def backbone():
    return HRNetBackbone(HRNetConfig(**VARIANTS["hr18s"]))


def test_a_pickled_state_dict_loads(backbone, tmp_path):
    state = {key: torch.full_like(value, 2) for key, value in backbone.state_dict().items()}
    without_counters = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    torch.save({**without_counters, "classifier.weight": torch.zeros(3)}, tmp_path / "old.pth")
    load_imagenet_backbone(backbone, str(tmp_path / "old.pth"))
    assert all((p == 2).all() for p in backbone.parameters())


def test_other_weights_are_refused(backbone, tmp_path):
    wide = HRNetBackbone(HRNetConfig(**VARIANTS["hr32"]))
    save_file(wide.state_dict(), tmp_path / "wide.safetensors")
    with pytest.raises(
        ValueError, match=r"wide.safetensors: not the weights of this backbone \(branch widths \[18.*hr18s takes"
    ):
        load_imagenet_backbone(backbone, str(tmp_path / "wide.safetensors"))


def test_what_cannot_be_had_is_explained(backbone):
    """The tests are offline: this is what somebody behind a firewall reads."""
    remedy = r"--model.backbone /path/to/model.safetensors.*--model.backbone null"
    with pytest.raises(OSError, match=r"timm/hrnet_w18_small_v2.ms_in1k: the Hub can't be reached.*" + remedy):
        load_imagenet_backbone(backbone, "timm/hrnet_w18_small_v2.ms_in1k")
    with pytest.raises(FileNotFoundError, match=r"nowhere.safetensors: no such file.*" + remedy):
        load_imagenet_backbone(backbone, "nowhere.safetensors")


def test_a_pickle_that_runs_code_is_refused(backbone, tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "written"), "w"))

    torch.save({"conv1.weight": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match="evil.pth"):
        load_imagenet_backbone(backbone, str(tmp_path / "evil.pth"))
    assert not (tmp_path / "written").exists()
