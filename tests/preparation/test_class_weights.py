"""Class weights agree with worked examples, and with numpy on random counts."""

import numpy as np
import pytest
import yaml

from modeling_ocrnet.data.pair_checks import PairFacts
from modeling_ocrnet.preparation.class_weights import class_weights_as_yaml, compute_class_weights
from modeling_ocrnet.preparation.statistics import SplitStatistics


def split(*masks) -> SplitStatistics:
    """A split of masks with these pixels of classes 0, 1, 2; each with ten pixels that aren't labelled."""
    found = SplitStatistics("train", len(masks[0]))
    for row, pixels in enumerate(masks):
        found.add(row, PairFacts(str(row), size=(1, 1), pixels=np.array([*pixels, 10])))
    return found


def test_powers():
    """Shares of 64 %, 32 % and 4 %: to the power of -1/2 1.25, 1.768 and 5; their mean over the pixels is 1.5657."""
    found = compute_class_weights(split([60, 20, 0], [4, 12, 4]), 3, 0.5)
    np.testing.assert_allclose(found, np.array([1.25, 1.76777, 5.0]) / (0.8 + 0.565685 + 0.2), rtol=1e-5)
    np.testing.assert_allclose(compute_class_weights(split([60, 20, 0], [4, 12, 4]), 3, 0), 1)


def test_one_over_frequency_lets_all_classes_count_alike():
    masks = split([7, 2, 90], [5, 1, 1])
    weights = compute_class_weights(masks, 3, 1)
    assert np.ptp(weights * masks.pixels[:3]) < 1e-9


def test_median_frequency():
    """Class 2 occurs in the second image alone: its frequency is 4 of 20, not 4 of 100.

    Frequencies 0.64, 0.32, 0.2; the median by them 0.5, 1, 1.6; mean over the pixels 0.32 + 0.32 + 0.064.
    """
    found = compute_class_weights(split([60, 20, 0], [4, 12, 4]), 3, "median")
    np.testing.assert_allclose(found, np.array([0.5, 1, 1.6]) / 0.704, rtol=1e-9)


@pytest.mark.parametrize("method", [0.3, "median"])
def test_the_mean_over_pixels_is_one_and_absent_classes_are_left_alone(method):
    masks = split([5, 0, 100, 3], [0, 0, 17, 90])
    weights = compute_class_weights(masks, 4, method)
    assert weights[1] == 1
    assert np.isclose((weights * masks.pixels[:4]).sum(), masks.labelled)


def test_nothing_to_weigh():
    with pytest.raises(ValueError, match="no pixel is labelled in train"):
        compute_class_weights(split([0, 0]), 2, 0.5)
    with pytest.raises(ValueError, match="0 or more, got -1"):
        compute_class_weights(split([1, 1]), 2, -1)


def test_yaml_of_very_small_and_large_weights():
    """YAML 1.1 reads 1e-05 as text."""
    line = class_weights_as_yaml(np.array([0.0000123456, 1, 123456.0]))
    assert yaml.safe_load(line) == {"class_weights": [0.00001235, 1.0, 123500.0]}
