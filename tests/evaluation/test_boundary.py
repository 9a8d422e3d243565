"""Boundary scores agree with other implementations of their definitions, and with examples worked by hand."""

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial import KDTree

from modeling_ocrnet.evaluation.boundary import BoundaryScores, boundary


def blobs(seed, shape=(90, 120), classes=4):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(classes, *shape)), (0, 6, 6))
    return noise.argmax(0).astype(np.uint8)


@pytest.mark.parametrize("width", [1, 2, 5])
def test_the_boundary_is_all_that_is_near_the_outside(width):
    """By a chessboard distance transform, with the image's edge as outside."""
    mask = blobs(0) == 1
    distance = ndimage.distance_transform_cdt(np.pad(mask, 1), metric="chessboard")[1:-1, 1:-1]
    np.testing.assert_array_equal(boundary(mask, width), mask & (distance <= width))


def test_boundary_iou_by_scipy():
    scores, counts = BoundaryScores(4), np.zeros((2, 4))
    for seed in range(3):
        truth, guess = blobs(seed), np.roll(blobs(seed), (2, 1), (0, 1))
        truth[:10, :10] = 255
        scores.add(guess, truth)
        width = round(0.02 * np.hypot(90, 120))
        for c in range(4):
            bands = []
            for mask in ((guess == c) & (truth != 255), truth == c):
                # binary_erosion's default outside is background
                bands.append(mask & ~ndimage.binary_erosion(mask, np.ones((3, 3)), iterations=width))
            counts[0, c] += (bands[0] & bands[1]).sum()
            counts[1, c] += (bands[0] | bands[1]).sum()
    result = scores.compute()
    np.testing.assert_allclose(result["per_category_boundary_iou"], counts[0] / counts[1])
    assert result["boundary_iou"] == pytest.approx((counts[0] / counts[1]).mean())


def test_boundary_f1_by_nearest_neighbours():
    scores, values = BoundaryScores(4), []
    for seed in range(3):
        truth, guess = blobs(seed), np.roll(blobs(seed), (2, 1), (0, 1))
        scores.add(guess, truth)
        tolerance = 0.0075 * np.hypot(90, 120)  # 1.125 pixels
        row = []
        for c in range(4):
            ours, theirs = (
                np.argwhere(x & ~ndimage.binary_erosion(x, np.ones((3, 3)))) for x in (guess == c, truth == c)
            )
            precision = (KDTree(theirs).query(ours)[0] <= tolerance).mean()
            recall = (KDTree(ours).query(theirs)[0] <= tolerance).mean()
            row.append(2 * precision * recall / (precision + recall))
        values.append(row)
    np.testing.assert_allclose(scores.compute()["per_category_boundary_f1"], np.mean(values, axis=0))


def test_a_square_moved_by_hand():
    """A 20 x 20 square, found one pixel to the right; bands of width 2 are frames of 144 pixels.

    The frames share 16 full rows' ends: 2 rows above and 2 below overlap in 19 columns (76), the left and right columns
    of the 16 rows between overlap in 1 + 1 (32): 108 of 144 + 144 - 108 = 180.
    """
    truth = np.zeros((100, 100), np.uint8)
    truth[40:60, 40:60] = 1
    scores = BoundaryScores(2, width=2 / np.hypot(100, 100))
    scores.add(np.roll(truth, 1, axis=1), truth)
    assert scores.compute()["per_category_boundary_iou"][1] == pytest.approx(108 / 180)


def test_a_perfect_prediction_and_a_missed_class():
    truth = np.zeros((100, 100), np.uint8)
    truth[40:60, 40:60] = 1
    perfect, missed = BoundaryScores(3), BoundaryScores(3)
    perfect.add(truth, truth)
    missed.add(np.zeros_like(truth), truth)
    assert perfect.compute()["per_category_boundary_f1"][:2].tolist() == [1, 1]
    assert perfect.compute()["per_category_boundary_iou"][:2].tolist() == [1, 1]
    assert np.isnan(perfect.compute()["per_category_boundary_iou"][2])
    assert missed.compute()["per_category_boundary_f1"][1] == 0
    assert missed.compute()["per_category_boundary_iou"][1] == 0
