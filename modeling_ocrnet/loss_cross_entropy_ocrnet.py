# SPDX-License-Identifier: Apache-2.0
"""Cross-entropy, with class weights, label smoothing and online hard example mining (OHEM)."""

import torch
import torch.nn.functional as F
from torch import Tensor


def cross_entropy(
    logits: Tensor,
    labels: Tensor,
    ignore_index: int = 255,
    normalizer: str = "all",
    class_weights: list[float] | None = None,
    ohem_threshold: float | None = None,
    ohem_min_kept: int | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy, optionally over hard pixels only.

    Args:
        logits: (batch, classes, height, width).
        labels: (batch, height, width).
        ignore_index: the label of pixels that don't count.
        normalizer: see below.
        class_weights: one for each class, in the sum, and with `"valid"` in what it is divided by.
        ohem_threshold: see [`ohem_mask`].
        ohem_min_kept: see [`ohem_mask`].
        label_smoothing: as torch's: this share of the target is spread evenly over all classes.

    `normalizer="all"` divides the sum by the number of all pixels, ignored ones included, as mmsegmentation does by
    default. `"valid"` divides by the (class-weighted) number of pixels that count, as torch and the authors do.
    """
    weight = class_weight_tensor(class_weights, logits)
    losses = F.cross_entropy(
        logits, labels, weight, ignore_index=ignore_index, reduction="none", label_smoothing=label_smoothing
    )
    counted = labels != ignore_index
    if ohem_threshold is not None or ohem_min_kept is not None:
        hard = ohem_mask(logits.detach(), labels, ohem_threshold, ohem_min_kept or 1, ignore_index, weight)
        losses, counted = losses * hard, counted & hard
    return losses.sum() / loss_denominator(labels, counted, weight, normalizer, losses)


def class_weight_tensor(class_weights: list[float] | None, logits: Tensor) -> Tensor | None:
    """The config's class weights as a tensor, (classes,), with the logits' dtype.

    Raises:
        ValueError: if the number of weights isn't the number of classes.
    """
    if class_weights is None:
        return None
    if len(class_weights) != logits.shape[1]:
        raise ValueError(f"class_weights has {len(class_weights)} entries for logits of {logits.shape[1]} classes")
    return torch.tensor(class_weights, device=logits.device, dtype=logits.dtype)


def loss_denominator(
    labels: Tensor, counted: Tensor, weight: Tensor | None, normalizer: str, like: Tensor
) -> Tensor | int:
    """The number that a sum of losses is divided by.

    Args:
        labels: (batch, height, width).
        counted: bool, in the labels' shape: the pixels that count.
        weight: (classes,), the class weights, or `None`.
        normalizer: the config's `loss_normalizer`.
        like: a tensor with the result's dtype.
    """
    if normalizer == "all":
        return labels.numel()
    total = counted.sum().to(like.dtype) if weight is None else weight[labels[counted]].sum()
    # if no pixel counts, the sum is 0, and the loss must be 0 too
    return total.clamp(min=torch.finfo(like.dtype).tiny)


def ohem_mask(
    logits: Tensor,
    labels: Tensor,
    threshold: float | None,
    min_kept: int,
    ignore_index: int = 255,
    class_weights: Tensor | None = None,
) -> Tensor:
    """The pixels that online hard example mining selects, bool (batch, height, width).

    With a threshold, it selects pixels whose true class has a lower probability, or the `min_kept * batch` pixels with
    the lowest probabilities if those are more. Without one, it selects the `min_kept * batch` pixels with the highest
    losses. Agrees with mmsegmentation's `OHEMPixelSampler`.
    """
    valid = labels != ignore_index
    chosen = torch.zeros_like(valid)
    kept = min_kept * labels.shape[0]
    if threshold is None:
        losses = F.cross_entropy(logits, labels, class_weights, ignore_index=ignore_index, reduction="none")
        hardest = losses[valid].topk(min(kept, int(valid.sum()))).indices
        chosen.view(-1)[valid.view(-1).nonzero().squeeze(1)[hardest]] = True
        return chosen
    truth = logits.softmax(1).gather(1, labels.where(valid, 0).unsqueeze(1)).squeeze(1)
    probabilities = truth[valid]
    if probabilities.numel():
        kth = min(kept, probabilities.numel() - 1)
        threshold = max(threshold, float(probabilities.sort().values[kth]))
        chosen[valid] = probabilities < threshold
    return chosen
