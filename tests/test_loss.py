"""Losses agree with mmsegmentation's (fixtures/mmseg_losses) and with torch's."""

import math

import pytest
import torch
import torch.nn.functional as F
from helpers import reference

from modeling_ocrnet import HRNetConfig, OCRNetConfig
from modeling_ocrnet.loss_cross_entropy_ocrnet import cross_entropy, ohem_mask
from modeling_ocrnet.loss_lovasz_ocrnet import lovasz_softmax
from modeling_ocrnet.loss_ocrnet import segmentation_loss


@pytest.fixture(scope="module")
def expected():
    return reference.load("mmseg_losses")


@pytest.mark.parametrize(
    ("name", "loss"),
    [
        ("ce_all_pixels", lambda x, y: cross_entropy(x, y, normalizer="all")),
        ("ce_valid_pixels", lambda x, y: cross_entropy(x, y, normalizer="valid")),
        ("lovasz_softmax", lambda x, y: lovasz_softmax(x.softmax(1), y)),
    ],
)
def test_agrees_with_mmsegmentation(expected, name, loss):
    logits = expected["logits"].clone().requires_grad_()
    value = loss(logits, expected["labels"])
    value.backward()
    torch.testing.assert_close(value.reshape(1), expected[name], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(logits.grad, expected[f"{name}.grad"], rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize(("threshold", "kept"), [(0.7, 1000), (0.9, 3000), (None, 1500)])
def test_the_ohem_mask_agrees_with_mmsegmentation(expected, threshold, kept):
    chosen = ohem_mask(expected["logits"], expected["labels"], threshold, kept)
    assert 0 < chosen.sum() < chosen.numel()
    torch.testing.assert_close(chosen.float(), expected[f"ohem_mask.thresh_{threshold}.keep_{kept}"])


@pytest.mark.parametrize("normalizer", ["all", "valid"])
def test_ohem_in_the_cross_entropy(expected, normalizer):
    """Only the chosen pixels train; mmsegmentation divides their sum by all pixels, the authors by the chosen."""
    logits, labels = expected["logits"], expected["labels"]
    chosen = expected["ohem_mask.thresh_0.7.keep_1000"].bool()
    total = F.cross_entropy(logits, labels, ignore_index=255, reduction="none")[chosen].sum()
    value = cross_entropy(logits, labels, normalizer=normalizer, ohem_threshold=0.7, ohem_min_kept=1000)
    torch.testing.assert_close(value, total / (labels.numel() if normalizer == "all" else chosen.sum()))


def test_class_weights_agree_with_torch(expected):
    weights = [0.5, 1.0, 2.0, 0.1, 3.0, 1.0, 1.0]
    value = cross_entropy(expected["logits"], expected["labels"], normalizer="valid", class_weights=weights)
    torch_value = F.cross_entropy(expected["logits"], expected["labels"], torch.tensor(weights), ignore_index=255)
    torch.testing.assert_close(value, torch_value)


def test_the_config_composes_the_loss(expected):
    config = OCRNetConfig(num_labels=7, losses={"cross_entropy": 0.5, "lovasz": 2.0}, loss_normalizer="valid")
    value = segmentation_loss(expected["logits"], expected["labels"], config)
    torch.testing.assert_close(
        value.reshape(1), 0.5 * expected["ce_valid_pixels"] + 2.0 * expected["lovasz_softmax"], rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"loss_normalizer": "valid"},
        {"loss_normalizer": "valid", "class_weights": [1.0] * 7},
        {"lovasz_weight": 1.0},
        {"ohem_threshold": 0.7, "ohem_min_kept": 10},
        {"ohem_min_kept": 10, "loss_normalizer": "valid"},
    ],
)
def test_an_ignored_batch_has_a_finite_loss_and_no_gradient(expected, fields):
    logits = expected["logits"].clone().requires_grad_()
    loss = segmentation_loss(logits, torch.full_like(expected["labels"], 255), OCRNetConfig(num_labels=7, **fields))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.abs().max() == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"class_weights": [1.0]}, "class_weights has 1 entries for 2 classes"),
        ({"losses": {"cross_entropy": 0.0}}, r"losses is {'cross_entropy': 0.0}: there would be no loss"),
        ({"ohem_min_kept": 0}, "ohem_min_kept"),
        ({"class_weights": [1.0, -1.0]}, "class_weights must be 0 or more, and finite, got -1.0"),
        ({"class_weights": [1.0, math.nan]}, "class_weights must be 0 or more, and finite, got nan"),
        ({"class_weights": [0, 0.0]}, "class_weights are all 0"),
        *(
            ({f"{x}_weight": bad}, f"{x}_weight must be 0 or more, and finite, got {bad}")
            for x in ("auxiliary_loss", "cross_entropy", "lovasz")
            for bad in (-1.0, math.nan, math.inf)
        ),
        *(({"ohem_threshold": x}, f"ohem_threshold must be .* got {x}") for x in (0.0, -0.7, 70, math.nan)),
    ],
)
def test_impossible_losses_are_refused(fields, message):
    with pytest.raises(Exception, match=message):
        OCRNetConfig(num_labels=2, **fields)


@pytest.mark.parametrize(
    ("name", "bad", "good"),
    [
        ("dropout", (-0.1, 1, math.nan), (0, 0.9)),
        ("auxiliary_dropout", (-0.1, 1.0, 50), (0.0, 0.1)),
        ("batch_norm_momentum", (-0.1, 1.1, math.nan), (0.0, 1.0)),
        ("batch_norm_eps", (0.0, -1e-5, math.nan, math.inf), (1e-3,)),
        ("classifier_initializer_range", (-0.01, math.nan, math.inf), (0, 0.01)),
    ],
)
def test_layers_that_cannot_compute_are_refused(name, bad, good):
    configs = [OCRNetConfig, HRNetConfig] if name.startswith("batch_norm") else [OCRNetConfig]
    for config in configs:
        for value in bad:
            with pytest.raises(Exception, match=f"{name} must be .* got {value}"):
                config(**{name: value})
        for value in good:
            config(**{name: value})


@pytest.mark.parametrize("fields", [{}, {"ohem_min_kept": 10}, {"lovasz_weight": 1.0}])
def test_class_weights_of_another_network_are_refused(expected, fields):
    config = OCRNetConfig(num_labels=19, class_weights=[1.0] * 19, **fields)
    with pytest.raises(ValueError, match="class_weights has 19 entries for logits of 7 classes"):
        segmentation_loss(expected["logits"], expected["labels"], config)


@pytest.mark.parametrize("fields", [{}, {"ohem_min_kept": 10}, {"lovasz_weight": 1.0}])
def test_a_single_class_has_no_loss(fields):
    logits, labels = torch.randn(1, 1, 8, 8), torch.zeros(1, 8, 8, dtype=torch.long)
    with pytest.raises(ValueError, match="train two classes, the object and a background"):
        segmentation_loss(logits, labels, OCRNetConfig(num_labels=1, **fields))


def test_a_label_that_is_no_class_is_refused(expected):
    labels = expected["labels"].clone()
    labels[0, 0, 0] = 7
    with pytest.raises((IndexError, RuntimeError), match="out of bounds"):
        segmentation_loss(expected["logits"], labels, OCRNetConfig(num_labels=7))
