# SPDX-License-Identifier: Apache-2.0
"""What the losses share that look at each class on its own."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

# what `sum_over_classes` takes at once: so many scores (images x classes x pixels; 4 MB), or this share of the classes
SCORES = 2**20
SHARE = 1 / 16


def one_hot(labels: Tensor, classes: int, ignore_index: int) -> Tensor:
    """Labels, (batch, height, width), as bool (batch, classes, height, width); ignored pixels are of no class."""
    valid = labels != ignore_index
    hot = torch.zeros(len(labels), classes, *labels.shape[1:], dtype=torch.bool, device=labels.device)
    return hot.scatter(1, labels.where(valid, 0).unsqueeze(1), valid.unsqueeze(1))


def sum_over_classes(term: Callable[[Tensor, Tensor], Tensor], logits: Tensor, truth: Tensor) -> Tensor:
    """Sum a term over the classes, a few of them at a time.

    What a term's gradient needs is computed again in the backward pass. So the maps that a term makes exist for a few
    classes only.

    Args:
        term: from logits and truth of some classes, (batch, some, height, width), to a scalar.
        logits: (batch, classes, height, width).
        truth: bool, of the same shape.
    """
    group = max(1, SCORES // logits[:, 0].numel(), int(SHARE * logits.shape[1]))
    total = logits.new_zeros(())
    for scores, hot in zip(logits.split(group, 1), truth.split(group, 1), strict=True):
        total = total + checkpoint(term, scores, hot, use_reentrant=False, preserve_rng_state=False)
    return total
