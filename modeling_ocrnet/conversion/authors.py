"""Checkpoints of HRNet-Semantic-Segmentation, by the paper's authors (HRNet + OCR). For their ImageNet HRNets see
imagenet.py.

The conversion is exact. It keeps the biases before the batch norms of the heads' first convolutions, and
align_corners=True everywhere, also in HRNet's fuse layers, which resize directly to the target's size.
"""

from __future__ import annotations

from . import imagenet
from .architecture import hrnet_fields, ocrnet_fields
from .converted_checkpoint import (
    HRNET_MODULES,
    IMAGENET_HEADS,
    ConvertedCheckpoint,
    any_starts,
    attention_modules,
    conv_norm,
    rename,
)
from .loading import Checkpoint

ORIGIN = "HRNet-Semantic-Segmentation (https://github.com/HRNet/HRNet-Semantic-Segmentation)"
_MODULES = {
    **conv_norm("auxiliary_head.projection", "aux_head.0", "aux_head.1"),
    # the classifier is the Sequential's last module, after an activation that may be part of the norm
    "aux_head.2": "auxiliary_head.classifier",
    "aux_head.3": "auxiliary_head.classifier",
    **conv_norm("ocr_head.projection", "conv3x3_ocr.0", "conv3x3_ocr.1"),
    **attention_modules("ocr_distri_head"),
    "cls_head": "ocr_head.classifier",
}
_BACKBONE = {name: f"backbone.{name}" for name in HRNET_MODULES}
_DROP = {"loss.": "belongs to the training loss", **IMAGENET_HEADS}


def matches(keys) -> bool:
    """Whether these are the weight names of the authors' segmentation network."""
    return any_starts(keys, "conv3x3_ocr.")


def convert(checkpoint: Checkpoint) -> ConvertedCheckpoint:
    """Convert a segmentation network, or an ImageNet backbone of the same authors.

    Raises:
        ValueError: if the weights are of neither.
    """
    if not matches(checkpoint.state) and imagenet.matches(checkpoint.state):
        return imagenet.convert(checkpoint)
    renamed = rename(checkpoint.state, _MODULES, _BACKBONE, _DROP)
    backbone = hrnet_fields(renamed.state, "backbone.", align_corners=True, fuse_upsample="size")
    fields = ocrnet_fields(renamed.state, backbone, align_corners=True, dropout=0.05, loss_normalizer="valid")
    return ConvertedCheckpoint(ORIGIN, fields, renamed.state, renamed.names, renamed.dropped, {"align_corners": True})
