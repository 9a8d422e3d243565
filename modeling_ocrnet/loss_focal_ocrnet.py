# SPDX-License-Identifier: Apache-2.0
"""The focal loss."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .loss_classes_ocrnet import one_hot, sum_over_classes


def focal(
    logits: Tensor, labels: Tensor, ignore_index: int = 255, gamma: float = 2.0, alpha: float | None = None
) -> Tensor:
    """Focal loss (arXiv 1708.02002): each class against the rest, by sigmoids, where easy pixels count less.

    With q the probability of what is true of a pixel and a class, it is the mean of -(1 - q)^gamma log q over classes
    and valid pixels, as segmentation_models.pytorch 0.6.0 defines it.

    Args:
        logits: (batch, classes, height, width).
        labels: (batch, height, width).
        ignore_index: the label of pixels that don't count.
        gamma: 0 is the binary cross-entropy; the larger, the less easy pixels count.
        alpha: weight of a pixel's own class; the others have 1 - alpha. `None`: all have 1.

    Returns:
        A scalar; 0 if all pixels are ignored.
    """
    valid = (labels != ignore_index).unsqueeze(1)

    def term(scores: Tensor, truth: Tensor) -> Tensor:
        against = torch.where(truth, -scores, scores)  # the logit of 1 - q
        # a power of 1 - q would have no gradient where that is 0
        losses = torch.exp(gamma * F.logsigmoid(against)) * F.softplus(against)
        if alpha is not None:
            losses = losses * torch.where(truth, alpha, 1 - alpha)
        return (losses * valid).sum()

    total = sum_over_classes(term, logits, one_hot(labels, logits.shape[1], ignore_index))
    return total / (logits.shape[1] * valid.sum().clamp(min=1))
