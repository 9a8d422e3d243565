"""The reference numbers in fixtures/ and the models they belong to: original weights under our parameter names."""

import json
from functools import partial
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file

from modeling_ocrnet import OCRNetForSemanticSegmentation
from modeling_ocrnet.conversion.convert import Report, build
from modeling_ocrnet.conversion.reading import Checkpoint

FIXTURES = Path(__file__).parent / "fixtures"


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


def converted(name: str, **fields) -> tuple[OCRNetForSemanticSegmentation, Report]:
    """The network of a fixture, converted, and what the conversion said."""
    model, _, report = build(Checkpoint(Path(name), foreign_state(name)), overrides=fields)
    return model, report


def mmseg_model(name: str = "mmseg_hrnet_ocr_tiny", **fields) -> OCRNetForSemanticSegmentation:
    return converted(name, **fields)[0]


authors_model = partial(mmseg_model, "official_hrnet_ocr_tiny")


def narrow_resnet() -> str:
    """The name of the narrow ResNet of a fixture, which timm knows after this call."""
    from timm.models import register_model
    from timm.models._registry import is_model
    from timm.models.resnet import Bottleneck, _create_resnet

    def ocrnet_test_resnet50c(pretrained=False, **kwargs):
        widths = {"channels": (4, 8, 16, 32), "stem_width": 4, "stem_type": "deep"}
        return _create_resnet("resnet50c", pretrained, block=Bottleneck, layers=(3, 4, 6, 3), **widths, **kwargs)

    if not is_model(ocrnet_test_resnet50c.__name__):
        ocrnet_test_resnet50c.__module__ = "timm.models.resnet"
        register_model(ocrnet_test_resnet50c)
    return ocrnet_test_resnet50c.__name__
