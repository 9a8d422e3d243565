"""Dice, focal and bootstrapped cross-entropy are those of other libraries (fixtures/other_losses), label smoothing is
torch's."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import reference

from modeling_ocrnet.loss_bootstrapped_ocrnet import bootstrapped_cross_entropy
from modeling_ocrnet.loss_cross_entropy_ocrnet import cross_entropy
from modeling_ocrnet.loss_dice_ocrnet import dice
from modeling_ocrnet.loss_focal_ocrnet import focal

WEIGHTS = [0.5, 1.0, 2.0, 1.0, 3.0]
THEIRS = {
    "smp.dice": lambda x, y: dice(x.softmax(1), y),
    "smp.focal": focal,
    "smp.focal.alpha_0.25.gamma_1.5": lambda x, y: focal(x, y, gamma=1.5, alpha=0.25),
    "mmseg.focal.alpha_0.25": lambda x, y: focal(x, y, alpha=0.25),
    "paddleseg.bootstrapped.few": lambda x, y: bootstrapped_cross_entropy(x, y, min_kept=40, threshold=0.5),
    "paddleseg.bootstrapped.many": lambda x, y: bootstrapped_cross_entropy(x, y, min_kept=250, threshold=3.0),
    "paddleseg.bootstrapped.mixed": lambda x, y: bootstrapped_cross_entropy(x, y, min_kept=170, threshold=0.9),
    "paddleseg.bootstrapped.weighted": (
        lambda x, y: bootstrapped_cross_entropy(x, y, min_kept=40, threshold=0.5, class_weights=WEIGHTS)
    ),
}


@pytest.fixture(scope="module")
def expected():
    return reference.load("other_losses")


@pytest.mark.parametrize("name", THEIRS)
def test_agrees_with(expected, name):
    """mmsegmentation's focal loss counts ignored pixels in its mean, so there are none in that case."""
    logits = expected["logits"].clone().requires_grad_()
    labels = expected["labels_without_ignored" if name.startswith("mmseg") else "labels"]
    value = THEIRS[name](logits, labels)
    value.backward()
    torch.testing.assert_close(value.reshape(1), expected[name], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(logits.grad, expected[f"{name}.grad"], rtol=1e-4, atol=1e-7)


def test_dice_of_a_class_is_mmsegmentations_naive_one(expected):
    """Of each class's map alone, over the valid pixels; a class without pixels counts as 0 here, and as 1 there."""
    each = expected["mmseg.naive_dice_of_class"]
    present = torch.tensor([(expected["labels"] == c).any() for c in range(5)])
    assert present.tolist() == [True, True, True, False, True]
    value = dice(expected["logits"].softmax(1), expected["labels"])
    torch.testing.assert_close(value, each[present].sum() / 5)


def test_perfect_and_wrong_predictions_have_dice_losses_of_0_and_1():
    labels = torch.tensor([[[0, 1, 2, 255]]])
    truth = F.one_hot(labels.where(labels != 255, 0), 3).movedim(-1, 1).float()
    assert dice(truth, labels).item() == pytest.approx(0, abs=1e-6)
    assert dice(truth.roll(1, 1), labels).item() == pytest.approx(1, abs=1e-6)


def test_focal_without_gamma_is_the_binary_cross_entropy(expected):
    logits, labels = expected["logits"], expected["labels_without_ignored"]
    truth = F.one_hot(labels, 5).movedim(-1, 1).float()
    torch.testing.assert_close(focal(logits, labels, gamma=0.0), F.binary_cross_entropy_with_logits(logits, truth))


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_focal_of_hopeless_pixels_has_a_gradient(gamma):
    """The probability of what is true is 0 in float32: a power below 1 of it, or of 1 minus it, has no slope there."""
    logits = torch.tensor([[[[200.0, -200.0]], [[-200.0, 200.0]]]], requires_grad=True)
    focal(logits, torch.tensor([[[1, 1]]]), gamma=gamma).backward()
    torch.testing.assert_close(logits.grad, torch.tensor([[[[0.25, 0]], [[-0.25, 0]]]]))


@pytest.mark.parametrize(("min_kept", "kept"), [(None, 2), (5, 5), (1000, 40)])
def test_bootstrapped_keeps_a_twentieth_by_default_and_no_more_than_there_are(min_kept, kept):
    logits, labels = torch.randn(1, 3, 5, 8), torch.randint(0, 3, (1, 5, 8))
    losses = np.sort(F.cross_entropy(logits, labels, reduction="none").numpy().ravel())[::-1]
    value = bootstrapped_cross_entropy(logits, labels, min_kept=min_kept, threshold=1e9)
    assert value.item() == pytest.approx(losses[:kept].mean(), rel=1e-5)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("smoothing", [0.1, 0.5])
def test_label_smoothing_is_torchs(expected, weights, smoothing):
    logits, labels = expected["logits"], expected["labels"]
    value = cross_entropy(logits, labels, normalizer="valid", class_weights=weights, label_smoothing=smoothing)
    weight = None if weights is None else torch.tensor(weights)
    truth = F.cross_entropy(logits, labels, weight, ignore_index=255, label_smoothing=smoothing)
    torch.testing.assert_close(value, truth)
