"""ImageNet backbones: HRNets of timm and of the authors, which name their weights alike, and timm's resnet101c."""

from __future__ import annotations

from .architecture import hrnet_fields, resnet_fields
from .converted_checkpoint import HRNET_MODULES, IMAGENET_HEADS, ConvertedCheckpoint, any_starts, rename
from .loading import Checkpoint

ORIGIN = "an ImageNet classifier of timm (https://github.com/huggingface/pytorch-image-models) or of HRNet's authors"

# of each variant's backbone, on the Hub
IMAGENET_WEIGHTS = {
    "hr18s": "timm/hrnet_w18_small_v2.ms_in1k",
    "hr18": "timm/hrnet_w18.ms_in1k",
    "hr32": "timm/hrnet_w32.ms_in1k",
    "hr48": "timm/hrnet_w48.ms_in1k",
    "hr64": "timm/hrnet_w64.ms_in1k",
    "r101-d8": "timm/resnet101c.gluon_in1k",
}


def matches(keys) -> bool:
    """Are these a bare backbone's names?"""
    return any_starts(keys, "stage4.") or any_starts(keys, "layer4.")


def convert(checkpoint: Checkpoint) -> ConvertedCheckpoint:
    """A backbone without its classifier.

    Raises:
        ValueError: for weights of another network.
    """
    if any_starts(checkpoint.state, "stage4."):
        renamed = rename(checkpoint.state, {}, {name: name for name in HRNET_MODULES}, IMAGENET_HEADS)
        # as it was trained; segmentation networks upsample bilinearly, and take these weights all the same
        fields = hrnet_fields(renamed.state, "", fuse_upsample="nearest")
    else:
        names = {name: f"_backbone.{name}" for name in ("conv1.", "bn1.", "layer")}
        renamed = rename(checkpoint.state, {}, names, IMAGENET_HEADS)
        fields = resnet_fields(renamed.state, "_backbone.")
    return ConvertedCheckpoint(ORIGIN, fields, renamed.state, renamed.names, renamed.dropped)
