"""OCRNet over a module that isn't transformers': as docs/own_backbone.md and the class's docstring show it."""

import doctest
import json
import re
from pathlib import Path

import pytest
import torch
from helpers.tiny import tiny_config
from torch import nn
from transformers import AutoBackbone, AutoModelForSemanticSegmentation, ResNetConfig

from modeling_ocrnet import OCRNetForSemanticSegmentation, modeling_ocrnet

ROOT = Path(__file__).parents[1]


class TwoMaps(nn.Module):
    channels = [6, 10]

    def __init__(self):
        super().__init__()
        self.fine, self.coarse = nn.Conv2d(3, 6, 3, 4, 1), nn.Conv2d(6, 10, 3, 2, 1)
        self.norm = nn.BatchNorm2d(6)

    def forward(self, pixel_values):
        fine = self.norm(self.fine(pixel_values)).relu()
        return [fine, self.coarse(fine)]


def over(backbone: nn.Module) -> OCRNetForSemanticSegmentation:
    config = tiny_config(num_labels=5, ocr_in_indices=[0, 1], auxiliary_in_indices=[0, 1])
    return OCRNetForSemanticSegmentation(config, backbone=backbone)


def test_the_page_runs(tmp_path, monkeypatch):
    """The page's code, as it stands there."""
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "own_backbone.md").read_text(encoding="utf-8")
    *_, code = re.findall(r"```python\n(.*?)```", text, flags=re.S)  # the first is over a backbone of timm
    names = {}
    exec(code, names)
    assert type(names["model"].backbone).__name__ == "MyNet"


def test_the_docstring_runs():
    finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner()
    (example,) = finder.find(OCRNetForSemanticSegmentation, module=modeling_ocrnet)
    assert runner.run(example).failed == 0
    assert runner.tries > 4


def test_it_keeps_its_weights_and_learns():
    backbone = TwoMaps()
    before = backbone.fine.weight.clone()
    model = over(backbone).train()
    assert torch.equal(model.backbone.fine.weight, before)
    output = model(torch.randn(2, 3, 64, 96), labels=torch.randint(0, 5, (2, 64, 96)))
    assert output.logits.shape == (2, 5, 16, 24)
    output.loss.backward()
    assert [name for name, x in model.named_parameters() if x.grad is None] == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", [OCRNetForSemanticSegmentation, AutoModelForSemanticSegmentation])
def test_a_round_trip(kind, dtype, tmp_path):
    """What is loaded computes the same to the bit."""
    model = over(TwoMaps()).eval().to(dtype)
    model.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    assert (written["custom_backbone"], written["backbone_config"]) == ("TwoMaps", None)
    loaded, report = kind.from_pretrained(tmp_path, backbone=TwoMaps(), dtype=dtype, output_loading_info=True)
    assert not any(report.values())
    assert {x.dtype for x in loaded.parameters()} == {dtype}
    pixels = torch.randn(1, 3, 64, 96, dtype=dtype)
    with torch.no_grad():
        assert torch.equal(loaded.eval()(pixels).logits, model(pixels).logits)


def test_loading_without_it_says_what_is_missing(tmp_path):
    over(TwoMaps()).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"your own backbone: pass it again, backbone=TwoMaps\(...\)$"):
        OCRNetForSemanticSegmentation.from_pretrained(tmp_path)


def test_without_channels_it_is_refused():
    with pytest.raises(ValueError, match="backbone is a Conv2d, expected an nn.Module whose `channels`"):
        over(nn.Conv2d(3, 6, 1))


def test_it_can_be_fused():
    model, pixels = over(TwoMaps()).eval().double(), torch.randn(2, 3, 64, 96).double()
    with torch.no_grad():
        torch.testing.assert_close(model.fuse()(pixels).logits, model(pixels).logits, rtol=1e-9, atol=1e-9)


def test_a_backbone_of_transformers_is_described_by_its_config(tmp_path):
    """Given as a module, with its weights: such a model is loaded without it."""
    stages = ["stage1", "stage2"]
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], out_features=stages)
    model = over(AutoBackbone.from_config(config)).eval()
    model.save_pretrained(tmp_path)
    loaded = OCRNetForSemanticSegmentation.from_pretrained(tmp_path).eval()
    pixels = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        assert torch.equal(loaded(pixels).logits, model(pixels).logits)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (lambda maps: maps[:1], r"TwoMaps returned \[6\], expected a list of feature maps, .*: \[6, 10\]"),
        (lambda maps: maps[::-1], r"TwoMaps returned \[10, 6\], expected"),
        (lambda maps: maps[0], "TwoMaps returned a Tensor, expected"),
        (lambda maps: dict(enumerate(maps)), "TwoMaps returned a dict, expected"),
    ],
)
def test_maps_that_are_not_as_it_said_are_named(given, said, monkeypatch):
    forward = TwoMaps.forward
    monkeypatch.setattr(TwoMaps, "forward", lambda self, x: given(forward(self, x)))
    with pytest.raises(ValueError, match=said):
        over(TwoMaps())(torch.randn(2, 3, 32, 32))


def test_maps_that_there_are_not_cannot_be_chosen():
    with pytest.raises(ValueError, match=r"ocr_in_indices is \[0, 2\], but TwoMaps has 2 feature maps"):
        OCRNetForSemanticSegmentation(
            tiny_config(ocr_in_indices=[0, 2], auxiliary_in_indices=[0, 1]), backbone=TwoMaps()
        )
    with pytest.raises(ValueError, match=r"ocr_in_indices is \[4\], but HRNetBackbone has 4 feature maps"):
        OCRNetForSemanticSegmentation(tiny_config(ocr_in_indices=[4]))


@pytest.mark.parametrize("backbone", [TwoMaps, nn.Identity(), [nn.Identity()]])
def test_what_is_no_backbone_is_named(backbone):
    with pytest.raises(ValueError, match=r"backbone is a \w+, expected an nn.Module whose `channels`"):
        over(backbone)
