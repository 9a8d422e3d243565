# SPDX-License-Identifier: Apache-2.0
"""The loss of a head: a weighted sum of the losses that the config names. All of them compute in float32."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .loss_bootstrapped_ocrnet import bootstrapped_cross_entropy
from .loss_cross_entropy_ocrnet import cross_entropy
from .loss_dice_ocrnet import dice
from .loss_fields_ocrnet import check_weights
from .loss_focal_ocrnet import focal
from .loss_lovasz_ocrnet import lovasz_softmax
from .loss_rmi_ocrnet import rmi


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

    def forward(self, logits: Tensor, labels: Tensor, config, losses: Mapping[str, float] | None = None) -> Tensor:
        with autocast_disabled(logits):
            return segmentation_loss(logits, labels, config, losses)


def segmentation_loss(logits: Tensor, labels: Tensor, config, losses: Mapping[str, float] | None = None) -> Tensor:
    """One head's loss: the weighted sum of the losses in [`LOSSES`] that are named.

    Args:
        logits: (batch, classes, h, w); resized (bilinear) to the labels' size if the sizes differ.
        labels: (batch, height, width) int64; unlabelled pixels are `config.loss_ignore_index`.
        config ([`OCRNetConfig`]): its `align_corners`, `losses`, `loss_*`, `class_weights` and the fields of the single
            losses are used.
        losses: weights by the names of losses; `config.losses` by default.

    Returns:
        A scalar; 0 with zero gradients if all pixels are ignored (`rmi`: a constant with zero gradients).

    Raises:
        ValueError: if there are fewer than two classes, a loss is unknown, or the number of class weights isn't that of
            the classes.
    """
    losses = config.losses if losses is None else losses
    check_weights("losses", losses)
    check_classes(logits)
    logits = upcast_to_float32(logits)
    if logits.shape[-2:] != labels.shape[-2:]:
        logits = F.interpolate(logits, size=labels.shape[-2:], mode="bilinear", align_corners=config.align_corners)
    total = logits.new_zeros(())
    for name, weight in losses.items():
        if weight:
            total = total + weight * LOSSES[name](logits, labels, config)
    return total


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


def _cross_entropy(logits: Tensor, labels: Tensor, config) -> Tensor:
    return cross_entropy(
        logits,
        labels,
        ignore_index=config.loss_ignore_index,
        normalizer=config.loss_normalizer,
        class_weights=config.class_weights,
        ohem_threshold=config.ohem_threshold,
        ohem_min_kept=config.ohem_min_kept,
        label_smoothing=config.label_smoothing,
    )


def _lovasz(logits: Tensor, labels: Tensor, config) -> Tensor:
    return lovasz_softmax(logits.softmax(1), labels, config.loss_ignore_index)


def _dice(logits: Tensor, labels: Tensor, config) -> Tensor:
    return dice(logits.softmax(1), labels, config.loss_ignore_index)


def _focal(logits: Tensor, labels: Tensor, config) -> Tensor:
    return focal(logits, labels, config.loss_ignore_index, config.focal_gamma, config.focal_alpha)


def _rmi(logits: Tensor, labels: Tensor, config) -> Tensor:
    return rmi(logits, labels, config.loss_ignore_index, config.rmi_pooling)


def _bootstrapped_cross_entropy(logits: Tensor, labels: Tensor, config) -> Tensor:
    return bootstrapped_cross_entropy(
        logits,
        labels,
        config.loss_ignore_index,
        config.bootstrap_min_kept,
        config.bootstrap_threshold,
        config.class_weights,
    )


# from logits (batch, classes, height, width) in float32, labels and config to a scalar
LOSSES: dict[str, Callable[[Tensor, Tensor, Any], Tensor]] = {
    "cross_entropy": _cross_entropy,
    "lovasz": _lovasz,
    "dice": _dice,
    "focal": _focal,
    "rmi": _rmi,
    "bootstrapped_cross_entropy": _bootstrapped_cross_entropy,
}
