"""The metric agrees with mmsegmentation's IoUMetric (fixtures/mmseg_metric) and with scikit-learn."""

import numpy as np
import pytest
from helpers import reference
from sklearn.metrics import confusion_matrix, jaccard_score

from modeling_ocrnet.evaluation.mean_iou import CHUNK, MeanIoU


def test_agrees_with_mmsegmentation():
    expected = {key: value.numpy() for key, value in reference.load("mmseg_metric").items()}
    metric = MeanIoU()
    for prediction, label in zip(expected["predictions"], expected["labels"], strict=True):
        metric.add(prediction=prediction, reference=label)
    result = metric.compute(num_labels=7, ignore_index=255)
    np.testing.assert_allclose(result["per_category_iou"], expected["iou"], rtol=1e-6)
    np.testing.assert_allclose(result["per_category_accuracy"], expected["accuracy"], rtol=1e-6)
    np.testing.assert_allclose(result["per_category_dice"], expected["dice"], rtol=1e-6)
    np.testing.assert_allclose(result["overall_accuracy"], expected["all_accuracy"][0], rtol=1e-6)
    assert np.isnan(expected["iou"][5:]).all()  # absent classes don't enter the mean
    assert result["mean_iou"] == pytest.approx(np.nanmean(expected["iou"]), rel=1e-6)


@pytest.fixture
def maps():
    rng = np.random.default_rng(0)
    references = rng.integers(0, 6, (3, 20, 30))
    references[rng.random(references.shape) < 0.1] = 255
    return rng.integers(0, 6, references.shape), references


def test_counts_agree_with_scikit_learn(maps):
    predictions, references = maps
    metric = MeanIoU()
    metric.add_batch(predictions=list(predictions), references=list(references))
    expected = confusion_matrix(references.ravel(), predictions.ravel(), labels=range(256))
    np.testing.assert_array_equal(metric.confusion, expected)


def test_a_large_map_of_all_ids():
    """Counted in several chunks, the last of them a part of one."""
    prediction, reference = np.random.default_rng(0).integers(0, 256, (2, 2 * CHUNK // 512 + 3, 512), dtype=np.uint8)
    metric = MeanIoU()
    metric.add(prediction=prediction, reference=reference)
    expected = confusion_matrix(reference.ravel(), prediction.ravel(), labels=range(256))
    np.testing.assert_array_equal(metric.confusion, expected)


def test_label_map_and_reduced_labels(maps):
    """Swapping two ids through label_map must not chain, as it does in evaluate's mean_iou."""
    predictions, references = maps
    swapped = np.select([references == 1, references == 2], [2, 1], references)
    reduced = np.where((swapped == 0) | (swapped == 255), 255, swapped - 1)
    known = reduced != 255
    result = MeanIoU().compute(
        predictions=predictions, references=references, num_labels=6, label_map={1: 2, 2: 1}, reduce_labels=True
    )
    expected = jaccard_score(reduced[known], predictions[known], labels=range(6), average=None)
    np.testing.assert_allclose(result["per_category_iou"], expected)


def test_each_computation_starts_anew(maps):
    metric = MeanIoU()
    first = metric.compute(predictions=maps[0], references=maps[1], num_labels=6)
    again = metric.compute(predictions=maps[1], references=maps[1], num_labels=6)
    assert first["mean_iou"] < 0.5
    assert again["mean_iou"] == 1.0


def test_absent_classes_can_be_given_a_number():
    metric = MeanIoU()
    maps = [np.zeros((2, 2), int)]
    assert np.isnan(metric.compute(predictions=maps, references=maps, num_labels=2)["per_category_iou"][1])
    result = metric.compute(predictions=maps, references=maps, num_labels=2, nan_to_num=0)
    assert result["per_category_iou"].tolist() == [1.0, 0.0]


@pytest.mark.parametrize("bad", [np.full((2, 2), 65536), np.full((2, 2), -1)])
def test_ids_beyond_two_bytes_are_refused(bad):
    with pytest.raises(ValueError, match="holds ids from"):
        MeanIoU().add(prediction=bad, reference=np.zeros((2, 2), int))


def test_maps_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 2\), but its reference \(2, 3\)"):
        MeanIoU().add(prediction=np.zeros((2, 2), int), reference=np.zeros((2, 3), int))
