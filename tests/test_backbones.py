"""OCRNet over backbones that aren't ours: transformers' own and timm's, through `backbone_config`."""

import pytest
import torch
from helpers.backbones import BACKBONES, STAGES, model_over
from helpers.tiny import tiny_backbone, tiny_config
from transformers import AutoBackbone, ResNetConfig

from modeling_ocrnet import HRNetBackbone, OCRNetForSemanticSegmentation


@pytest.mark.parametrize("name", BACKBONES)
def test_other_backbones_compose(name, tmp_path):
    """The heads read the very maps that the backbone gives on its own; the whole trains, and loads as it was saved."""
    backbone_config, stride = BACKBONES[name]()
    alone = AutoBackbone.from_config(backbone_config).eval()
    indices = list(range(len(alone.channels)))
    model = model_over(backbone_config, indices).eval()
    model.backbone.load_state_dict(alone.state_dict())
    pixel_values = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        maps = alone(pixel_values).feature_maps
        logits = model(pixel_values).logits
        size = maps[0].shape[-2:]
        resize = {"size": size, "mode": "bilinear", "align_corners": False}
        stacked = torch.cat([torch.nn.functional.interpolate(x, **resize) for x in maps], dim=1)
        expected = model.ocr_head([stacked], model.auxiliary_head([stacked]))[0]
    assert logits.shape == (2, 5, 64 // stride, 96 // stride)
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)

    model.save_pretrained(tmp_path)
    again = OCRNetForSemanticSegmentation.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        torch.testing.assert_close(again(pixel_values).logits, logits, rtol=0, atol=0)

    before = next(model.backbone.parameters()).detach().clone()
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(pixel_values, labels=torch.randint(0, 5, (2, 64, 96))).loss.backward()
    optimizer.step()
    assert not torch.equal(next(model.backbone.parameters()), before)


def test_pooling_can_round_up():
    """As torch's own rule for `ceil_mode`: a 64x96 image has 17x25 rows and columns after it, not 16x24."""
    backbone = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], out_features=STAGES)
    logits = [
        model_over(backbone, [0], pool_ceil_mode=ceil).eval()(torch.zeros(1, 3, 64, 96)).logits
        for ceil in (False, True)
    ]
    assert [tuple(x.shape[-2:]) for x in logits] == [(16, 24), (17, 25)]


def test_images_of_other_channels_are_refused():
    with pytest.raises(ValueError, match=r"pixel_values has 4 channels, config.num_channels is 3"):
        OCRNetForSemanticSegmentation(tiny_config())(torch.zeros(1, 4, 32, 32))
    with pytest.raises(ValueError, match=r"pixel_values has 3 channels, config.num_channels is 4"):
        HRNetBackbone(tiny_backbone(num_channels=4))(torch.zeros(1, 3, 32, 32))
