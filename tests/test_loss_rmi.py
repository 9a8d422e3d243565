"""RMI agrees with NVIDIA's and openseg's own (fixtures/rmi_loss)."""

import pytest
import torch
from helpers import reference

from modeling_ocrnet.loss_rmi_ocrnet import rmi

CASES = ["two_images", "all_ignored", "one_class_present", "one_class", "confident", "nineteen"]


@pytest.fixture(scope="module")
def expected():
    return reference.load("rmi_loss")


@pytest.mark.parametrize("case", [*CASES, *(f"openseg.{x}" for x in CASES[:3])])
def test_agrees_with_the_originals(expected, case):
    """Value and gradient; the originals ignore every label that is no class."""
    openseg = case.startswith("openseg")
    logits, labels = expected[f"{case}.logits"].clone().requires_grad_(), expected[f"{case}.labels"]
    labels = labels.where((labels >= 0) & (labels < logits.shape[1]), 255)
    value = rmi(logits, labels, pooling="max" if openseg else "average")
    value.backward()
    loss = case if openseg else f"{case}.do_rmi"
    torch.testing.assert_close(value, expected[f"{loss}.loss"].reshape(()), rtol=2e-5, atol=2e-5)
    torch.testing.assert_close(logits.grad, expected[f"{loss}.grad"], rtol=0, atol=1e-6)
