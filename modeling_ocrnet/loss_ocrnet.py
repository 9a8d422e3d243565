# SPDX-License-Identifier: Apache-2.0
"""The losses that OCRNet is trained with. All of them compute in float32."""

from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def upcast_to_float32(x: Tensor) -> Tensor:
    """Cast half precision to float32: sums over many pixels and softmaxes would lose small classes in it."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def autocast_disabled(x: Tensor) -> AbstractContextManager:
    """Disable `torch.autocast` for a tensor's device if it is enabled: exported programs would record it otherwise."""
    device = x.device.type
    on = not x.is_meta and torch.is_autocast_enabled(device)  # torch 2.11 can't compile torch.amp.is_autocast_available
    return torch.autocast(device, enabled=False) if on else nullcontext()


class SegmentationLoss(nn.Module):
    """[`segmentation_loss`] as a module, without autocast. It has no parameters, and reads the config in each call."""

    def forward(self, logits: Tensor, labels: Tensor, config) -> Tensor:
        with autocast_disabled(logits):
            return segmentation_loss(logits, labels, config)


def segmentation_loss(logits: Tensor, labels: Tensor, config) -> Tensor:
    """One head's loss: cross-entropy (with OHEM and class weights) plus Lovász-softmax, weighted as the config says.

    Args:
        logits: (batch, classes, h, w); resized (bilinear) to the labels' size if the sizes differ.
        labels: (batch, height, width) int64; unlabelled pixels are `config.loss_ignore_index`.
        config ([`OCRNetConfig`]): its `align_corners`, `loss_*`, `cross_entropy_weight`, `lovasz_weight`,
            `class_weights` and `ohem_*` are used.

    Returns:
        A scalar; 0 with zero gradients if all pixels are ignored.

    Raises:
        ValueError: if there are fewer than two classes, or the number of class weights isn't that of the classes.
    """
    check_classes(logits)
    logits = upcast_to_float32(logits)
    if logits.shape[-2:] != labels.shape[-2:]:
        logits = F.interpolate(logits, size=labels.shape[-2:], mode="bilinear", align_corners=config.align_corners)
    loss = logits.new_zeros(())
    if config.cross_entropy_weight:
        loss = loss + config.cross_entropy_weight * cross_entropy(
            logits,
            labels,
            ignore_index=config.loss_ignore_index,
            normalizer=config.loss_normalizer,
            class_weights=config.class_weights,
            ohem_threshold=config.ohem_threshold,
            ohem_min_kept=config.ohem_min_kept,
        )
    if config.lovasz_weight:
        loss = loss + config.lovasz_weight * lovasz_softmax(logits.softmax(1), labels, config.loss_ignore_index)
    return loss


def check_classes(logits: Tensor) -> None:
    """Check that logits (batch, classes, h, w) have more than one class.

    Raises:
        ValueError: if there is one class; the message says what to train instead.
    """
    if logits.shape[1] < 2:
        raise ValueError(
            f"logits have {logits.shape[1]} class, so the loss is 0 for every image: train two classes, the object and "
            "a background"
        )


def cross_entropy(
    logits: Tensor,
    labels: Tensor,
    ignore_index: int = 255,
    normalizer: str = "all",
    class_weights: list[float] | None = None,
    ohem_threshold: float | None = None,
    ohem_min_kept: int | None = None,
) -> Tensor:
    """Cross-entropy, optionally over hard pixels only.

    `normalizer="all"` divides the sum by the number of all pixels, ignored ones included, as mmsegmentation does by
    default. `"valid"` divides by the (class-weighted) number of pixels that count, as torch and the authors do.
    """
    weight = class_weight_tensor(class_weights, logits)
    losses = F.cross_entropy(logits, labels, weight, ignore_index=ignore_index, reduction="none")
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
