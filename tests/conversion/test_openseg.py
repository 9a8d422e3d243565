"""What differs in openseg: a ResNet of its own shape, and inplace_abn. The HRNet's numbers: ../test_parity.py."""

from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from helpers import foreign_state_dicts, reference
from torch import nn

from modeling_ocrnet.conversion.convert import build
from modeling_ocrnet.conversion.loading import Checkpoint


class OpensegResNet(nn.Module):
    """openseg's dilated ResNet, on torchvision's layers, which dilate stages 3 and 4 in the same way."""

    def __init__(self):
        super().__init__()
        torchvision = pytest.importorskip("torchvision")
        block = torchvision.models.resnet.Bottleneck
        dilated = torchvision.models.ResNet(block, [1, 1, 2, 2], replace_stride_with_dilation=[False, True, True])
        dilated.inplanes, dilated.dilation = 128, 1
        self.resinit = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(3, 64, 3, stride=2, padding=1, bias=False),
                bn1=nn.BatchNorm2d(64),
                relu1=nn.ReLU(),
                conv2=nn.Conv2d(64, 64, 3, padding=1, bias=False),
                bn2=nn.BatchNorm2d(64),
                relu2=nn.ReLU(),
                conv3=nn.Conv2d(64, 128, 3, padding=1, bias=False),
                bn3=nn.BatchNorm2d(128),
                relu3=nn.ReLU(),
            )
        )
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True)
        self.layer1 = dilated._make_layer(block, 64, 1)
        self.layer2, self.layer3, self.layer4 = dilated.layer2, dilated.layer3, dilated.layer4

    def forward(self, x):
        x = self.maxpool(self.resinit(x))
        features = []
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
            features.append(x)
        return features


@pytest.mark.parametrize("size", [(64, 96), (65, 101)])
def test_the_resnet_agrees(size):
    pytest.importorskip("timm")
    original = OpensegResNet().eval()
    heads = {k: v for k, v in reference.foreign_state("openseg_hrnet_ocr_tiny").items() if "backbone" not in k}
    state = foreign_state_dicts.openseg_resnet_heads(heads, (1024, 2048))
    state |= foreign_state_dicts.prefixed("module.backbone.", original.state_dict())
    name = reference.narrow_resnet("ocrnet_test_resnet14s", layers=(1, 1, 2, 2), stem_width=64)
    overrides = {"backbone_config": {"backbone": name}}
    model, _, _ = build(Checkpoint(Path("openseg.pth"), state), overrides=overrides)
    pixel_values = torch.randn(1, 3, *size)
    with torch.no_grad():
        expected, found = original(pixel_values), model.backbone(pixel_values).feature_maps
        logits = model(pixel_values).logits
    for feature, target in zip(found, expected, strict=True):
        torch.testing.assert_close(feature, target, rtol=0, atol=1e-5 * target.abs().max().item())
    assert logits.shape[-2:] == (9, 13)  # of 64x96 too: the pooling rounds 16.5 rows up, where others have 8x12


def test_inplace_abn_is_a_leaky_network_of_positive_norms():
    """Its norms keep the activation inside (one name less), and scale by |weight| + 1e-5."""
    name = "openseg_hrnet_ocr_tiny"
    inplace = {}
    for key, value in reference.foreign_state(name).items():
        is_norm_weight = value.ndim == 1 and key.endswith(".weight")
        short = key if "backbone" in key else key.replace(".1.0.", ".1.").replace(".3.0.", ".3.")
        inplace[short] = value * torch.randn(value.shape).sign() if is_norm_weight else value
    model, _, _ = build(Checkpoint(Path("abn.pth"), inplace))
    assert model.config.hidden_act == "leaky_relu"

    expected = reference.openseg_model()
    for module in expected.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert (module.weight > 0).all()
            module.weight.data += 1e-5
        if isinstance(module, nn.Sequential) and isinstance(getattr(module, "act", None), nn.ReLU):
            module.act = nn.LeakyReLU(0.01)
    pixel_values = torch.randn(1, 3, 32, 64)
    with torch.no_grad():
        found, target = model(pixel_values).logits, expected(pixel_values).logits
    torch.testing.assert_close(found, target, rtol=0, atol=1e-4 * target.abs().max().item())
