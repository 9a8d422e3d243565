"""Faster layers for training, which replace the model's plain ones. Their results differ only by rounding."""

from torch import nn

from ...heads_ocrnet import ObjectAttention, OCRHead, SoftObjectRegions, SpatialGather
from ...loss_ocrnet import SegmentationLoss
from .batch_norm import FastBatchNorm2d
from .heads import FastObjectAttention, FastOCRHead, FastSoftObjectRegions, FastSpatialGather
from .loss import FastSegmentationLoss

FAST_LAYERS = {
    nn.BatchNorm2d: FastBatchNorm2d,
    ObjectAttention: FastObjectAttention,
    OCRHead: FastOCRHead,
    SegmentationLoss: FastSegmentationLoss,
    SoftObjectRegions: FastSoftObjectRegions,
    SpatialGather: FastSpatialGather,
}


def convert_for_training(model: nn.Module) -> nn.Module:
    """Convert a model's layers to faster ones for training, in place.

    Only the layers' classes change. Parameters, buffers, hooks and state dict keys stay the same, so the model is saved
    and loaded as before. CPUs gain most: packed batch norms, resizes after the heads' projections and a cross-entropy
    in strips are only for them. Layers of other classes (SyncBatchNorm, FSDP's, adapters) aren't changed.

    With `transformers.Trainer`: `Trainer(convert_for_training(model), ...)`.

    Args:
        model: an [`OCRNetForSemanticSegmentation`], or a module that contains one.

    Returns:
        The same model.
    """
    for module in model.modules():
        if type(module) in FAST_LAYERS:
            module.__class__ = FAST_LAYERS[type(module)]
    return model
