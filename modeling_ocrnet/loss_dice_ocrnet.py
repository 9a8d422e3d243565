# SPDX-License-Identifier: Apache-2.0
"""The Dice loss."""

import torch
from torch import Tensor

from .loss_classes_ocrnet import one_hot


def dice(probabilities: Tensor, labels: Tensor, ignore_index: int = 255) -> Tensor:
    """Dice loss: 1 - 2 |A and B| / (|A| + |B|) of each class, over all pixels of the batch.

    The mean is over all classes, and a class without a pixel counts as 0: so segmentation_models.pytorch defines its
    multiclass Dice. (arXiv 1606.04797, which made it a loss, squares the probabilities of the denominator.)

    Args:
        probabilities: (batch, classes, height, width), summing to 1 over classes.
        labels: (batch, height, width).
        ignore_index: the label of pixels that don't count.

    Returns:
        A scalar; 0 if all pixels are ignored.
    """
    truth = one_hot(labels, probabilities.shape[1], ignore_index)
    seen = probabilities * (labels != ignore_index).unsqueeze(1)
    overlap = (seen * truth).sum((0, 2, 3))
    pixels = truth.sum((0, 2, 3)).to(seen.dtype)
    scores = 2 * overlap / (seen.sum((0, 2, 3)) + pixels).clamp(min=torch.finfo(seen.dtype).eps)
    return ((1 - scores) * (pixels > 0)).mean()
