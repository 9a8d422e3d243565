"""Hidden states and attentions, by keyword and by config, as transformers' other segmentation models return them."""

import pytest
import torch
from helpers.backbones import BACKBONES, model_over
from helpers.tiny import tiny_config
from transformers import AutoBackbone

from modeling_ocrnet import OCRNetForSemanticSegmentation

IMAGES = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
OVER_OTHERS = [name for name in BACKBONES if name != "timm_mobilenetv3"]  # transformers' TimmBackbone raises for it


def requested(model, name, by):
    """The model's output with `output_<name>` by a keyword or the config."""
    setattr(model.config, f"output_{name}", by == "config")
    with torch.no_grad():
        return model(IMAGES, **({f"output_{name}": True} if by == "keyword" else {}))


@pytest.mark.parametrize("by", ["keyword", "config"])
@pytest.mark.parametrize("name", OVER_OTHERS)
def test_hidden_states_are_the_backbones(name, by):
    config, _ = BACKBONES[name]()
    alone = AutoBackbone.from_config(config).eval()
    model = model_over(config, [0, 1]).eval()
    model.backbone.load_state_dict(alone.state_dict())
    with torch.no_grad():
        expected = alone(IMAGES, output_hidden_states=True).hidden_states
        assert model(IMAGES).hidden_states is None
    found = requested(model, "hidden_states", by).hidden_states
    assert len(found) == len(expected) >= 4
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


def test_a_keyword_overrules_the_config():
    model = OCRNetForSemanticSegmentation(tiny_config(output_hidden_states=True)).eval()
    assert len(model(IMAGES).hidden_states) == 4
    assert model(IMAGES, output_hidden_states=False).hidden_states is None


@pytest.mark.parametrize("by", ["keyword", "config"])
def test_a_transformers_attentions(by):
    """One per block, (windows, heads, pixels, pixels); each pixel's weights sum to 1."""
    config, _ = BACKBONES["swin"]()
    model = model_over(config, [0, 1, 2, 3]).eval()
    model.set_attn_implementation("eager")
    assert model(IMAGES).attentions is None
    attentions = requested(model, "attentions", by).attentions
    assert [x.shape[1] for x in attentions] == [1, 1, 2, 2]
    assert all(x.shape[-2:] == (16, 16) for x in attentions)
    for x in attentions:
        torch.testing.assert_close(x.sum(-1), torch.ones(x.shape[:-1]))


@pytest.mark.parametrize("by", ["keyword", "config"])
@pytest.mark.parametrize("name", ["hrnet", "resnet", "timm_mobilenetv3"])
def test_a_convolutional_backbone_has_no_attentions(name, by):
    config = tiny_config() if name == "hrnet" else model_over(BACKBONES[name]()[0], [0, 1]).config
    model = OCRNetForSemanticSegmentation(config).eval()
    assert requested(model, "attentions", by).attentions is None


def test_gradients_reach_what_was_requested():
    hidden = OCRNetForSemanticSegmentation(tiny_config())(IMAGES, output_hidden_states=True)
    for x in hidden.hidden_states:
        x.retain_grad()
    hidden.logits.sum().backward()
    assert all(x.grad is not None for x in hidden.hidden_states)


def test_keywords_that_transformers_passes_to_every_model_are_accepted():
    model = OCRNetForSemanticSegmentation(tiny_config()).eval()
    with torch.no_grad():
        expected = model(IMAGES).logits
        assert torch.equal(model(IMAGES, num_items_in_batch=torch.tensor(2), position_ids=None).logits, expected)


def test_a_misspelt_keyword_is_an_error():
    with pytest.raises(TypeError, match=r"^forward\(\) got an unexpected keyword argument 'label'$"):
        OCRNetForSemanticSegmentation(tiny_config())(IMAGES, label=torch.zeros(2, 64, 96, dtype=torch.long))
