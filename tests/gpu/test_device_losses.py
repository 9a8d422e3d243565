"""The losses and their gradients on the device, of whole images, against float64 on the CPU, which takes strips."""

import pytest
import torch
from helpers.device_passes import CLASSES, relative_error

from modeling_ocrnet import OCRNetConfig
from modeling_ocrnet.loss_ocrnet import segmentation_loss

LOSSES = {
    "plain": {},
    "valid pixels": {"loss_average": "valid"},
    "class weights": {"class_weights": [0.5 + i / CLASSES for i in range(CLASSES)], "loss_average": "valid"},
    "OHEM by probability": {"ohem_threshold": 0.1, "ohem_min_kept": 100},
    "OHEM by number": {"ohem_min_kept": 1000},
    "label smoothing": {"label_smoothing": 0.1},
    "Lovasz": {"losses": {"lovasz": 1.0}},
    "both": {"losses": {"cross_entropy": 0.5, "lovasz": 0.5}},
    "Dice": {"losses": {"dice": 1.0}},
    "focal": {"losses": {"focal": 1.0}},
    "RMI": {"losses": {"rmi": 1.0}},
    "bootstrapped": {"losses": {"bootstrapped_cross_entropy": 1.0}},
}


def loss_and_gradient(logits, labels, fields, device, dtype):
    config = OCRNetConfig.from_variant("hr18s", num_labels=CLASSES, **fields)
    logits = logits.to(device, dtype).requires_grad_()
    loss = segmentation_loss(logits, labels.to(device), config)
    loss.backward()
    return loss, logits.grad


@pytest.mark.parametrize("name", list(LOSSES))
def test_losses(device, batch, name, bounded):
    """Loss and gradient in float32 on the device against float64 on the CPU."""
    labels = batch["labels"]
    logits = 3 * torch.randn(2, CLASSES, labels.shape[1] // 4, labels.shape[2] // 4)
    truths = loss_and_gradient(logits, labels, LOSSES[name], torch.device("cpu"), torch.float64)
    found = loss_and_gradient(logits, labels, LOSSES[name], device, torch.float32)
    for what, value, truth, bound in zip(("loss", "gradient"), found, truths, (1e-5, 1e-4), strict=True):
        bounded(what, relative_error(value, truth), bound)


def test_nothing_labelled_is_no_loss(device, batch):
    labels = torch.full_like(batch["labels"], 255)
    logits = torch.randn(2, CLASSES, labels.shape[1] // 4, labels.shape[2] // 4)
    for name, fields in LOSSES.items():
        loss, gradient = loss_and_gradient(logits, labels, fields, device, torch.float32)
        assert loss.item() == 0 or name == "RMI"  # a constant
        assert gradient.abs().max().item() == 0
