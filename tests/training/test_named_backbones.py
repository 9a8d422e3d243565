"""Any backbone by recipe: `model.variant` names it, and its weights, maps and normalisation follow."""

import pytest
import torch
from helpers.named_backbones import NAMED, save_named

from modeling_ocrnet import data
from modeling_ocrnet.training import recipe as R
from modeling_ocrnet.training.build import build_model

LABELS = data.label_set("street_scenes")
HEADS = {"ocr_channels": 16, "key_channels": 8, "pyramid_channels": 12}


def recipe_of(variant, **fields):
    config = {**HEADS, **fields.pop("config", {})}
    return R.Recipe(model=R.ModelRecipe(str(variant), config=config, **fields))


def built(variant, **fields):
    return build_model(recipe_of(variant, **fields), LABELS).eval()


@pytest.mark.parametrize("name", NAMED)
def test_its_maps_are_those_of_the_published_model(name, tmp_path):
    original, maps, stride = save_named(name, tmp_path)
    model = built(tmp_path)
    patch = stride or 32
    images = torch.randn(2, 3, 3 * patch, 2 * patch)
    with torch.no_grad():
        expected = maps(original, images)
        found = model.backbone(images).feature_maps
    assert len(found) == (1 if stride else 4)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    assert model.config.pyramid_stride == stride
    assert model.config.auxiliary_channels == 256
    assert model.config.ocr_in_indices == model.config.auxiliary_in_indices == [0, 1, 2, 3]


@pytest.mark.parametrize("name", NAMED)
def test_it_trains_on_images_of_any_size(name, tmp_path):
    """Every parameter that requires a gradient gets one."""
    save_named(name, tmp_path)
    model = built(tmp_path).train()
    output = model(torch.randn(2, 3, 65, 101), labels=torch.randint(0, 19, (2, 65, 101)))
    output.loss.backward()
    assert {n for n, p in model.named_parameters() if p.requires_grad != (p.grad is not None)} == set()
    with torch.no_grad():
        size = model.eval()(torch.randn(1, 3, 65, 101)).logits.shape[-2:]
    stride = model.config.pyramid_stride or 16
    if name not in ("convnext", "dinov3_convnext"):  # whose patches leave out the last columns
        assert tuple(size) == tuple(-(-4 * x // stride) for x in (65, 101))
