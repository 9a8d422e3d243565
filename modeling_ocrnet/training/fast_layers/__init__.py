"""Faster layers for training, beside the plain ones of the model. They differ from those by rounding alone."""

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
    """Make a model's layers faster to train, in place, as `torch.nn.SyncBatchNorm.convert_sync_batchnorm` swaps them.

    Only classes change: parameters, buffers, hooks and state-dict keys stay as they are, so that the model is saved
    and loaded as before. CPUs gain most: packed batch norms, resizes after the heads' projections, and a cross-entropy
    in strips are for them alone, and other devices take the plain way. Before `transformers.Trainer`:
    `Trainer(convert_for_training(model), ...)`. Layers of other classes (SyncBatchNorm, FSDP's, adapters) are left
    alone.

    Args:
        model: an [`OCRNetForSemanticSegmentation`], or anything that holds one.

    Returns:
        The same model.
    """
    for module in model.modules():
        if type(module) in FAST_LAYERS:
            module.__class__ = FAST_LAYERS[type(module)]
    return model
