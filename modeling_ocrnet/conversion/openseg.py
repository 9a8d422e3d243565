"""openseg.pytorch's OCRNets: HRNet + OCR and ResNet-101 + OCR.

They differ from ours in these points: images are BGR (for the ResNet, they are not divided by 255); every convolution
in the heads has a bias; the auxiliary head's kernel is 3x3; the ResNet's stem has 64, 64 and 128 channels (timm's
`resnet101s`), and its max pooling rounds sizes up. Networks trained with inplace_abn use leaky ReLU in the heads.
"""

from __future__ import annotations

from typing import Any

from .architecture import hrnet_fields, ocrnet_fields, resnet_fields
from .converted_checkpoint import (
    IMAGENET_HEADS,
    ConvertedCheckpoint,
    any_starts,
    attention_modules,
    conv_norm,
    rename,
    strip_wrappers,
)
from .loading import Checkpoint

ORIGIN = "openseg.pytorch (https://github.com/openseg-group/openseg.pytorch)"
_HRNET_MODULES = {
    **conv_norm("auxiliary_head.projection", "aux_head.0", "aux_head.1"),
    "aux_head.2": "auxiliary_head.classifier",
    **conv_norm("ocr_head.projection", "conv3x3.0", "conv3x3.1"),
    **attention_modules("ocr_distri_head"),
    "cls_head": "ocr_head.classifier",
}
_RESNET_MODULES = {
    **conv_norm("auxiliary_head.projection", "dsn_head.0", "dsn_head.1"),
    "dsn_head.3": "auxiliary_head.classifier",
    **conv_norm("ocr_head.projection", "conv_3x3.0", "conv_3x3.1"),
    **attention_modules("spatial_ocr_head"),
    "head": "ocr_head.classifier",
    **{
        f"backbone.resinit.{theirs}": f"backbone._backbone.{ours}"
        for theirs, ours in (
            ("conv1", "conv1.0"),
            ("bn1", "conv1.1"),
            ("conv2", "conv1.3"),
            ("bn2", "conv1.4"),
            ("conv3", "conv1.6"),
            ("bn3", "bn1"),
        )
    },
}
_DROP = {f"backbone.{name}": reason for name, reason in IMAGENET_HEADS.items()}
# values from the authors' configs, in the channel order BGR
_RESNET_PIXELS = {"do_rescale": False, "image_mean": [102.9801, 115.9465, 122.7717], "image_std": [1.0, 1.0, 1.0]}
_ABN_EPS = 1e-5


def matches(keys) -> bool:
    """Whether these are openseg's weight names."""
    return any_starts(keys, "conv3x3.") or any_starts(keys, "conv_3x3.")


def convert(checkpoint: Checkpoint) -> ConvertedCheckpoint:
    """Convert HRNet + OCR or ResNet + OCR.

    Raises:
        ValueError: if the weights aren't those of an OCRNet.
    """
    is_resnet = any_starts(checkpoint.state, "conv_3x3.")
    modules = _RESNET_MODULES if is_resnet else _HRNET_MODULES
    prefixes = {"backbone.layer": "backbone._backbone.layer"} if is_resnet else {"backbone.": "backbone."}
    renamed = rename(checkpoint.state, modules, prefixes, _DROP)
    state = renamed.state
    shared: dict[str, Any] = {"align_corners": True, "dropout": 0.05, "loss_normalizer": "valid"}
    processor: dict[str, Any] = {"align_corners": True, "do_flip_channel_order": True}
    # inplace_abn's norm includes its activation (`1.weight`); a torch norm is wrapped with one (`1.0.weight`)
    if {"conv3x3.1.weight", "conv_3x3.1.weight"} & {strip_wrappers(key) for key in checkpoint.state}:
        shared["hidden_act"] = "leaky_relu"
        # inplace_abn scales by |weight| + eps (github.com/mapillary/inplace_abn, forward)
        norms = [key for key, value in state.items() if value.ndim == 1 and key.endswith(".weight")]
        state = state | {key: state[key].abs() + _ABN_EPS for key in norms}
    if is_resnet:
        backbone = resnet_fields(state, "backbone._backbone.")
        fields = ocrnet_fields(state, backbone, auxiliary_dropout=0.05, pool_ceil_mode=True, **shared)
        processor |= _RESNET_PIXELS
    else:
        backbone = hrnet_fields(state, "backbone.", align_corners=True, fuse_upsample="size")
        fields = ocrnet_fields(state, backbone, **shared)
    return ConvertedCheckpoint(ORIGIN, fields, state, renamed.names, renamed.dropped, processor)
