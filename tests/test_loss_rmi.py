"""RMI agrees with NVIDIA's and openseg's own (fixtures/rmi_loss)."""

import logging
import math

import pytest
import torch
from helpers import reference
from torch.utils._python_dispatch import TorchDispatchMode

from modeling_ocrnet import loss_rmi_ocrnet
from modeling_ocrnet.loss_rmi_ocrnet import cholesky, rmi

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


def value_and_gradient(logits, labels, **fields):
    logits = logits.detach().requires_grad_()
    value = rmi(logits, labels, **fields)
    value.backward()
    return value.detach(), logits.grad


def test_a_matrix_that_works_is_not_touched():
    root = torch.randn(3, 9, 12, dtype=torch.float64)
    factors, works = cholesky(root @ root.mT)
    assert works.all()
    assert torch.equal(factors, torch.linalg.cholesky(root @ root.mT))


def test_a_matrix_that_fails_spoils_no_other():
    """One is good, one fails by rounding, one is no covariance at all, and one isn't finite."""
    matrices = torch.eye(9, dtype=torch.float64).repeat(4, 1, 1)
    matrices[1, 0, 0] = -1e-9
    matrices[2, 0, 0] = -5
    matrices[3, 0, 0] = math.nan
    matrices.requires_grad_()
    factors, works = cholesky(matrices)
    assert works.tolist() == [True, True, False, False]
    product = factors.detach() @ factors.detach().mT
    torch.testing.assert_close(product[0], matrices[0].detach(), rtol=0, atol=0)
    torch.testing.assert_close(product[1], matrices[1].detach(), rtol=0, atol=2e-6)
    factors.diagonal(dim1=-2, dim2=-1).log().sum().backward()
    assert matrices.grad.isfinite().all()
    assert matrices.grad[2:].count_nonzero() == 0
    assert matrices.grad[0].count_nonzero()


@pytest.mark.parametrize("pooling", ["average", "max"])
def test_covariances_that_have_no_factor_end_neither_run_nor_numbers(monkeypatch, expected, pooling):
    """Without jitter, those of an absent class are 0; torch.linalg.cholesky would raise."""
    logits, labels = expected["one_class_present.logits"], expected["one_class_present.labels"]
    labels = labels.where(labels < logits.shape[1], 255)
    monkeypatch.setitem(loss_rmi_ocrnet.JITTER, pooling, 0.0)
    with pytest.raises(RuntimeError, match="not positive-definite"):
        torch.linalg.cholesky(torch.zeros(9, 9))
    value, gradient = value_and_gradient(logits, labels, pooling=pooling)
    assert value.isfinite()
    assert gradient.isfinite().all()
    assert gradient.count_nonzero()


def test_logits_that_are_no_numbers_are_not_hidden(expected):
    """A covariance is left out, but the loss still says that the network has diverged."""
    logits, labels = expected["one_class_present.logits"].clone(), expected["one_class_present.labels"]
    logits[0, 0, 20, 20] = math.nan
    assert rmi(logits, labels.where(labels < logits.shape[1], 255)).isnan()


def test_images_smaller_than_a_neighbourhood_are_refused():
    assert rmi(torch.randn(1, 2, 8, 8), torch.zeros(1, 8, 8, dtype=torch.long)).isfinite()
    with pytest.raises(ValueError, match="^rmi needs images of at least 8x8 pixels, got 7x20$"):
        rmi(torch.randn(1, 2, 7, 20), torch.zeros(1, 7, 20, dtype=torch.long))


class LargestFloat64(TorchDispatchMode):
    """The number of elements of the largest float64 tensor."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for x in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(x, torch.Tensor) and x.dtype == torch.float64:
                self.elements = max(self.elements, x.numel())
        return result


def test_float64_never_holds_all_classes(monkeypatch):
    """With 48 classes three are taken at once: nine values for each of their pooled pixels."""
    monkeypatch.setattr("modeling_ocrnet.loss_classes_ocrnet.SCORES", 1)
    logits, labels = torch.randn(1, 48, 64, 64), torch.randint(0, 48, (1, 64, 64))
    with LargestFloat64() as largest:
        value_and_gradient(logits, labels)
    assert 0 < largest.elements <= 3 * 9 * 17 * 17


def test_a_device_without_float64_computes_covariances_on_the_cpu(monkeypatch, caplog, expected):
    real = torch.eye
    logits, labels = expected["nineteen.logits"], expected["nineteen.labels"]
    truth = value_and_gradient(logits, labels)

    def eye(*args, **kwargs):
        if kwargs.get("dtype") == torch.float64 and torch.device(kwargs["device"]).type == "meta":
            raise TypeError("no float64\nhere")
        return real(*args, **kwargs)

    monkeypatch.setattr(torch, "eye", eye)
    loss_rmi_ocrnet._has_float64.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert loss_rmi_ocrnet._home_of_float64(torch.device("meta")) == torch.device("cpu")
    assert [x.getMessage() for x in caplog.records] == [
        "rmi: meta has no float64 (no float64), so covariances are computed on the CPU"
    ]
    assert loss_rmi_ocrnet._home_of_float64(torch.device("cpu")) == torch.device("cpu")
    torch.testing.assert_close(value_and_gradient(logits, labels), truth, rtol=0, atol=0)
    loss_rmi_ocrnet._has_float64.cache_clear()
