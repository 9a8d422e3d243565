"""The reference numbers in fixtures/ and the models they belong to: original weights under our parameter names."""

import json
import re
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file

from modeling_ocrnet import HRNetConfig, OCRNetConfig, OCRNetForSemanticSegmentation

FIXTURES = Path(__file__).parent / "fixtures"

_MMSEG_KEYS = [
    (r"^decode_head\.0\.convs\.0\.", "auxiliary_head.projection."),
    (r"^decode_head\.0\.conv_seg\.", "auxiliary_head.classifier."),
    (r"^decode_head\.1\.bottleneck\.", "ocr_head.projection."),
    (r"^decode_head\.1\.object_context_block\.bottleneck\.", "ocr_head.fusion."),
    (r"^decode_head\.1\.object_context_block\.(query|key|value|out)_project\.", r"ocr_head.attention.\1."),
    (r"^decode_head\.1\.conv_seg\.", "ocr_head.classifier."),
    (r"^((?:auxiliary|ocr)_head\..*)\.bn\.", r"\1.norm."),
]
_AUTHORS_KEYS = [
    (r"^model\.", ""),
    (r"^aux_head\.0\.", "auxiliary_head.projection.conv."),
    (r"^aux_head\.1(\.0)?\.", "auxiliary_head.projection.norm."),
    (r"^aux_head\.[23]\.", "auxiliary_head.classifier."),
    (r"^conv3x3_ocr\.0\.", "ocr_head.projection.conv."),
    (r"^conv3x3_ocr\.1(\.0)?\.", "ocr_head.projection.norm."),
    (r"^ocr_distri_head\.object_context_block\.f_(pixel|object|down|up)\.0\.", r"attention.\1.0.conv."),
    (r"^ocr_distri_head\.object_context_block\.f_(pixel|object|down|up)\.1(?:\.0)?\.", r"attention.\1.0.norm."),
    (r"^ocr_distri_head\.object_context_block\.f_(pixel|object)\.2\.", r"attention.\1.1.conv."),
    (r"^ocr_distri_head\.object_context_block\.f_(pixel|object)\.3(?:\.0)?\.", r"attention.\1.1.norm."),
    (r"^attention\.pixel\.", "ocr_head.attention.query."),
    (r"^attention\.object\.", "ocr_head.attention.key."),
    (r"^attention\.down\.0\.", "ocr_head.attention.value."),
    (r"^attention\.up\.0\.", "ocr_head.attention.out."),
    (r"^ocr_distri_head\.conv_bn_dropout\.0\.", "ocr_head.fusion.conv."),
    (r"^ocr_distri_head\.conv_bn_dropout\.1(\.0)?\.", "ocr_head.fusion.norm."),
    (r"^cls_head\.", "ocr_head.classifier."),
    (r"^(?!auxiliary_head|ocr_head)", "backbone."),
]


def load(name: str) -> dict[str, torch.Tensor]:
    return load_file(FIXTURES / f"{name}.safetensors")


def rename(key: str, rules: list[tuple[str, str]]) -> str:
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
    return key


def tiny_config(name: str, **fields) -> OCRNetConfig:
    """The narrow HRNet + OCR network of a fixture, from the fixture's own metadata."""
    with safe_open(FIXTURES / f"{name}.safetensors", "pt") as file:
        meta = {}
        for key, value in file.metadata().items():
            try:
                meta[key] = json.loads(value)
            except ValueError:
                meta[key] = value
    backbone = HRNetConfig(
        stage1_channels=meta["stage1_channels"],
        branch_channels=meta["stage_channels"],
        stage_modules=meta["stage_modules"],
        stage_blocks=meta["stage_blocks"],
        align_corners=meta["align_corners"],
        fuse_upsample="size" if meta["align_corners"] else "scale_factor",
    )
    return OCRNetConfig(
        backbone_config=backbone,
        num_labels=meta["classes"],
        ocr_channels=meta["ocr_channels"],
        key_channels=meta["key_channels"],
        align_corners=meta["align_corners"],
        **fields,
    )


def mmseg_model(name: str = "mmseg_hrnet_ocr_tiny", **fields) -> OCRNetForSemanticSegmentation:
    model = OCRNetForSemanticSegmentation(tiny_config(name, **fields))
    state = {rename(k.removeprefix("state."), _MMSEG_KEYS): v for k, v in load(name).items() if k.startswith("state.")}
    model.load_state_dict(state, strict=True)
    return model.eval()


def authors_model() -> OCRNetForSemanticSegmentation:
    name = "official_hrnet_ocr_tiny"
    model = OCRNetForSemanticSegmentation(tiny_config(name, input_conv_bias=True))
    state = {k.removeprefix("state."): v for k, v in load(name).items() if k.startswith("state.")}
    state = {rename(k, _AUTHORS_KEYS): v for k, v in state.items() if k != "loss.criterion.weight"}
    model.load_state_dict(state, strict=True)
    return model.eval()
