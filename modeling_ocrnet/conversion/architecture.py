"""Derives the architecture from the shapes of the weights (under our names)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..common.errors import UserError

# timm's ResNets with a deep stem, by the blocks of each stage and the channels of the stem
_TIMM_RESNETS: dict[tuple[tuple[int, ...], tuple[int, ...]], str] = {
    (blocks, stem): f"resnet{depth}{letter}"
    for depth, blocks in ((50, (3, 4, 6, 3)), (101, (3, 4, 23, 3)), (152, (3, 8, 36, 3)))
    for letter, stem in (("c", (32, 32, 64)), ("s", (64, 64, 128)))
}


def count(state: dict[str, Tensor], prefix: str) -> int:
    """The number of numbered children of a module: names in which 0, 1, 2 ... follow `prefix`."""
    return len({key[len(prefix) :].partition(".")[0] for key in state if key.startswith(prefix)})


def hrnet_fields(state: dict[str, Tensor], prefix: str, **fields) -> dict:
    """Fields of `HRNetConfig`.

    Args:
        state: weights; the names of the backbone's begin with `prefix`.
        fields: fields that shapes don't show (`align_corners`, `fuse_upsample`).

    Raises:
        UserError: if a part of the backbone is missing.
    """
    try:
        return {
            "model_type": "hrnet",
            "num_channels": state[f"{prefix}conv1.weight"].shape[1],
            "stem_channels": state[f"{prefix}conv1.weight"].shape[0],
            "stage1_channels": state[f"{prefix}layer1.0.conv1.weight"].shape[0],
            "branch_channels": [state[f"{prefix}stage4.0.branches.{i}.0.conv1.weight"].shape[0] for i in range(4)],
            "stage_modules": [1, *(count(state, f"{prefix}stage{i}.") for i in (2, 3, 4))],
            "stage_blocks": [
                count(state, f"{prefix}layer1."),
                *(count(state, f"{prefix}stage{i}.0.branches.0.") for i in (2, 3, 4)),
            ],
            **fields,
        }
    except KeyError as error:
        raise UserError(f"the HRNet is incomplete: no {error.args[0]}") from None


def resnet_fields(state: dict[str, Tensor], prefix: str) -> dict:
    """Fields of `TimmBackboneConfig` for a ResNet with a deep stem and output stride 8. `backbone` is `None` if timm
    has no such network of these widths and depths.

    Raises:
        UserError: if a part of the backbone is missing.
    """
    try:
        stem = tuple(state[f"{prefix}conv1.{i}.weight"].shape[0] for i in (0, 3, 6))
        width = state[f"{prefix}layer1.0.conv1.weight"].shape[0]
    except KeyError as error:
        raise UserError(f"the ResNet is incomplete, or has no deep stem: no {error.args[0]}") from None
    blocks = tuple(count(state, f"{prefix}layer{i}.") for i in (1, 2, 3, 4))
    return {
        "model_type": "timm_backbone",
        "backbone": _TIMM_RESNETS.get((blocks, stem)) if width == 64 else None,
        "out_indices": [1, 2, 3, 4],
        "output_stride": 8,
    }


def ocrnet_fields(state: dict[str, Tensor], backbone: dict, **fields) -> dict:
    """Fields of `OCRNetConfig`.

    Args:
        state: weights under our names.
        backbone: the backbone's fields.
        fields: fields that shapes don't show (`align_corners`, `dropout` ...).

    Raises:
        UserError: if a part of the heads is missing.
    """
    try:
        auxiliary = state["auxiliary_head.projection.conv.weight"]  # (channels, inputs, kernel, kernel)
        channels, inputs, kernel, _ = auxiliary.shape
        shapes: dict[str, Any] = {
            "num_labels": state["ocr_head.classifier.weight"].shape[0],
            "ocr_channels": state["ocr_head.projection.conv.weight"].shape[0],
            "key_channels": state["ocr_head.attention.value.conv.weight"].shape[0],
            "auxiliary_channels": None if channels == inputs else channels,
            "auxiliary_kernel_size": kernel,
            "input_conv_bias": "ocr_head.projection.conv.bias" in state,
            "attention_conv_bias": "ocr_head.fusion.conv.bias" in state,
        }
    except KeyError as error:
        raise UserError(f"not an OCRNet, or an incomplete one: it has no {error.args[0]} (our name)") from None
    if backbone["model_type"] != "hrnet":  # the auxiliary head reads stage 3, the OCR head stage 4
        shapes |= {"auxiliary_in_indices": [2], "ocr_in_indices": [3]}
    return {"model_type": "ocrnet", "backbone_config": backbone, **shapes, **fields}
