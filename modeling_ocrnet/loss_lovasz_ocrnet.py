# SPDX-License-Identifier: Apache-2.0
"""The Lovász-softmax loss."""

import torch
from torch import Tensor


def lovasz_softmax(probabilities: Tensor, labels: Tensor, ignore_index: int = 255) -> Tensor:
    """Lovász-softmax (arXiv 1705.08790), a surrogate of 1 - mIoU over the classes present in the batch.

    Args:
        probabilities: (batch, classes, height, width), summing to 1 over classes.
        labels: (batch, height, width).

    Returns:
        A scalar; 0 if all pixels are ignored.
    """
    valid = labels != ignore_index
    probabilities = probabilities.movedim(1, -1)[valid]  # (pixels, classes)
    labels = labels[valid]
    losses = []
    classes = labels.unique().tolist()
    if classes and min(classes) < 0:
        raise IndexError(f"label {min(classes)} is out of range")  # it would mean the last class
    for c in classes:
        truth = (labels == c).to(probabilities.dtype)
        errors, order = (truth - probabilities[:, c]).abs().sort(descending=True)
        losses.append(errors @ _lovasz_gradient(truth[order]))
    return torch.stack(losses).mean() if losses else probabilities.sum() * 0.0


def _lovasz_gradient(truth: Tensor) -> Tensor:
    """Gradient of the Lovász extension of the Jaccard loss, (pixels,), for true pixels sorted by descending error."""
    total = truth.sum()
    intersection = total - truth.cumsum(0)
    union = total + (1 - truth).cumsum(0)
    jaccard = 1 - intersection / union
    return torch.cat([jaccard[:1], jaccard[1:] - jaccard[:-1]])
