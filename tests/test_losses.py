"""What every loss in the table must do, whatever it computes."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from modeling_ocrnet import OCRNetConfig
from modeling_ocrnet.loss_fields_ocrnet import LOSS_NAMES, PARAMETERS
from modeling_ocrnet.loss_ocrnet import LOSSES, SegmentationLoss, segmentation_loss

CLASSES = 5
READ_BACK = {"lovasz"}  # it sorts for each class that is there
FIELDS = {
    **{name: {"losses": {name: 1.0}} for name in LOSSES},
    "smoothed": {"label_smoothing": 0.2, "class_weights": [0.5, 1, 2, 1, 3]},
    "openseg's rmi": {"losses": {"rmi": 1.0}, "rmi_pooling": "max"},
    "focal with alpha": {"losses": {"focal": 1.0}, "focal_alpha": 0.25, "focal_gamma": 0.5},
    "few hard pixels": {"losses": {"bootstrapped_cross_entropy": 1.0}, "bootstrap_min_kept": 7},
}
every_loss = pytest.mark.parametrize("name", list(FIELDS))


def config(name, **more):
    return OCRNetConfig(num_labels=CLASSES, **{**FIELDS[name], **more})


@pytest.fixture
def logits():
    return 2 * torch.randn(2, CLASSES, 8, 10)


@pytest.fixture
def labels():
    labels = torch.randint(0, CLASSES - 1, (2, 31, 39))  # one class is absent
    labels[0, :9] = 255
    return labels


def gradient(logits, labels, config, losses=None):
    logits = logits.detach().requires_grad_()
    loss = segmentation_loss(logits, labels, config, losses)
    loss.backward()
    return loss.detach(), logits.grad


def test_the_names_in_the_config_are_those_of_the_table():
    assert tuple(LOSSES) == LOSS_NAMES
    assert {name for losses in PARAMETERS.values() for name in losses} <= set(LOSS_NAMES)


@every_loss
def test_gradients_are_those_of_finite_differences(name, logits, labels):
    where = logits[:, :, ::3, ::3].double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: segmentation_loss(x, labels[:, :12, :12], config(name)), where, atol=1e-6)


@every_loss
@pytest.mark.parametrize("sign", [1, -1])
def test_an_ignored_batch_teaches_nothing(name, sign, logits, labels):
    """The loss is 0; that of `rmi` is its originals' constant."""
    loss, of_logits = gradient(1e4 * sign * logits, torch.full_like(labels, 255), config(name))
    assert of_logits.count_nonzero() == 0
    if "rmi" in name:
        jitter = 1e-3 if "openseg" in name else 5e-4
        assert loss.item() == pytest.approx(CLASSES * torch.tensor(jitter).log().item() / 4, abs=1e-4)
    else:
        assert loss.item() == 0


@every_loss
def test_an_image_without_labels_changes_no_gradient_but_by_the_mean(name, logits, labels):
    """Its own is 0, and that of its neighbour is finite."""
    labels[1] = 255
    loss, of_logits = gradient(logits, labels, config(name))
    assert loss.isfinite()
    assert of_logits[1].count_nonzero() == 0
    assert of_logits[0].isfinite().all()
    assert of_logits[0].count_nonzero()


@every_loss
@pytest.mark.parametrize("size", [1e-3, 1e2, 1e4])
def test_sure_and_unsure_networks_have_finite_gradients(name, size, logits, labels):
    loss, of_logits = gradient(size * logits, labels, config(name))
    assert loss.isfinite()
    assert of_logits.isfinite().all()


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_changes_the_logits_alone(name, dtype, logits, labels):
    """Logits of half precision are brought to float32, and autocast is off: the loss is that of the rounded logits."""
    half = logits.to(dtype).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = SegmentationLoss()(half, labels, config(name))
    loss.backward()
    expected, of_logits = gradient(half.detach().float(), labels, config(name))
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.detach(), expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(half.grad.float(), of_logits, rtol=1e-2, atol=1e-5)


@every_loss
def test_compiled_it_computes_the_same(name, logits, labels):
    if name in READ_BACK:
        pytest.skip("it can't be compiled as one graph")
    torch.compiler.reset()
    compiled = torch.compile(segmentation_loss, backend="eager", fullgraph=True)
    given = logits.clone().requires_grad_()
    loss = compiled(given, labels, config(name))
    loss.backward()
    torch.compiler.reset()
    expected, of_logits = gradient(logits, labels, config(name))
    torch.testing.assert_close(loss.detach(), expected)
    torch.testing.assert_close(given.grad, of_logits)


class NothingReadBack(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        masks = [x for x in args[1] if x is not None and x.dtype == torch.bool] if name == "index" else []
        waits = name in ("_local_scalar_dense", "nonzero", "_unique2", "masked_select") or masks
        assert not waits, "a device would have to be waited for"
        return function(*args, **(kwargs or {}))


@every_loss
def test_nothing_is_read_back_from_a_device(name, logits, labels):
    if name in READ_BACK:
        with pytest.raises(AssertionError, match="waited for"), NothingReadBack():
            gradient(logits, labels, config(name))
        return
    with NothingReadBack():
        loss, _ = gradient(logits, labels, config(name))
    assert loss.isfinite()


@every_loss
def test_a_label_that_is_no_class_is_refused(name, logits, labels):
    for wrong in (CLASSES, -1):
        labels[0, 20, 0] = wrong
        with pytest.raises((IndexError, RuntimeError), match="out of"):
            segmentation_loss(logits, labels, config(name))


def test_a_sum_of_losses_is_their_sum(logits, labels):
    weights = {name: 0.25 * (i + 1) for i, name in enumerate(LOSSES)}
    parts = [gradient(logits, labels, config("cross_entropy"), {name: 1.0}) for name in weights]
    loss, of_logits = gradient(logits, labels, config("cross_entropy", losses=weights))
    for found, i in ((loss, 0), (of_logits, 1)):
        expected = sum(w * part[i] for w, part in zip(weights.values(), parts, strict=True))
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("scores", [1, 3 * 2 * 31 * 39, 2**30])
def test_how_many_classes_are_taken_at_once_changes_nothing(monkeypatch, scores, logits, labels):
    expected = [gradient(logits, labels, config(name)) for name in ("rmi", "focal")]
    monkeypatch.setattr("modeling_ocrnet.loss_classes_ocrnet.SCORES", scores)
    for name, values in zip(("rmi", "focal"), expected, strict=True):
        torch.testing.assert_close(gradient(logits, labels, config(name)), values, rtol=1e-5, atol=1e-8)
