# SPDX-License-Identifier: Apache-2.0
"""Bootstrapped cross-entropy: that of each image's hardest pixels."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .loss_cross_entropy_ocrnet import class_weight_tensor

SHARE = 20  # by default one pixel in so many is kept: PaddleSeg's 100,000 of a crop of 1024x2048


def bootstrapped_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    ignore_index: int = 255,
    min_kept: int | None = None,
    threshold: float = 0.05,
    class_weights: list[float] | None = None,
) -> Tensor:
    """Mean over images of the mean cross-entropy of an image's hardest pixels, as PaddleSeg defines it.

    These are the pixels whose loss is above the threshold if they are more than `min_kept`, and otherwise the
    `min_kept` pixels with the highest losses. Ignored pixels have a loss of 0.

    Args:
        logits: (batch, classes, height, width).
        labels: (batch, height, width).
        ignore_index: the label of pixels that don't count.
        min_kept: least number of pixels for each image; all, if an image has fewer. `None`: a twentieth.
        threshold: of the loss.
        class_weights: one for each class: a pixel's loss is multiplied by its class's.

    Returns:
        A scalar; 0 if all pixels are ignored.
    """
    weight = class_weight_tensor(class_weights, logits)
    losses = F.cross_entropy(logits, labels, weight, ignore_index=ignore_index, reduction="none").flatten(1)
    pixels = losses.shape[1]
    kept = min(max(1, pixels // SHARE) if min_kept is None else min_kept, pixels)
    hardest = losses.topk(min(kept + 1, pixels), 1).values  # the next one says whether more are above the threshold
    hard = losses > threshold
    mean_of_hard = (losses * hard).sum(1) / hard.sum(1).clamp(min=1)
    more_are_hard = (hardest[:, -1] > threshold) & (hardest.shape[1] > kept)
    return torch.where(more_are_hard, mean_of_hard, hardest[:, :kept].mean(1)).mean()
