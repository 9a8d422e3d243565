"""The reference numbers in fixtures/ and the models they belong to: original weights under our parameter names."""

import json
from functools import partial
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file

from modeling_ocrnet import OCRNetForSemanticSegmentation
from modeling_ocrnet.conversion.convert import ConversionReport, build
from modeling_ocrnet.conversion.loading import Checkpoint

FIXTURES = Path(__file__).parents[1] / "fixtures"


def load(name: str) -> dict[str, torch.Tensor]:
    return load_file(FIXTURES / f"{name}.safetensors")


def metadata(name: str) -> dict:
    """How the fixture's makers described its network."""
    found = {}
    with safe_open(FIXTURES / f"{name}.safetensors", "pt") as file:
        for key, value in file.metadata().items():
            try:
                found[key] = json.loads(value)
            except ValueError:
                found[key] = value
    return found


def foreign_state(name: str) -> dict[str, torch.Tensor]:
    """The original network's weights under its own names."""
    return {k.removeprefix("state."): v for k, v in load(name).items() if k.startswith("state.")}


def converted(name: str, **fields) -> tuple[OCRNetForSemanticSegmentation, ConversionReport]:
    """The network of a fixture, converted, and what the conversion said."""
    model, _, report = build(Checkpoint(Path(name), foreign_state(name)), overrides=fields)
    return model, report


def mmseg_model(name: str = "mmseg_hrnet_ocr_tiny", **fields) -> OCRNetForSemanticSegmentation:
    return converted(name, **fields)[0]


authors_model = partial(mmseg_model, "official_hrnet_ocr_tiny")
openseg_model = partial(mmseg_model, "openseg_hrnet_ocr_tiny")


def narrow_resnet(name: str = "ocrnet_test_resnet50c", **fields) -> str:
    """A ResNet with a deep stem that timm knows by `name` after this call; by default that of mmseg_resnet_ocr_tiny."""
    from timm.models import is_model, register_model
    from timm.models.resnet import Bottleneck, _create_resnet

    fields = fields or {"layers": (3, 4, 6, 3), "channels": (4, 8, 16, 32), "stem_width": 4}

    def entry_point(pretrained=False, **kwargs):
        return _create_resnet("resnet50c", pretrained, block=Bottleneck, stem_type="deep", **fields, **kwargs)

    if not is_model(name):
        entry_point.__name__, entry_point.__module__ = name, "timm.models.resnet"
        register_model(entry_point)
    return name
