"""Boundary metrics: boundary IoU and boundary F1."""

from __future__ import annotations

import cv2
import numpy as np

from ..data.labels import IGNORE


class BoundaryScores:
    """Boundary IoU (Cheng et al., CVPR 2021) and boundary F1 (Csurka et al., BMVC 2013), by class.

    Boundary IoU is the IoU of the pixels inside prediction and reference that are at most `width` from their contour.
    As for mIoU, pixels are counted over all images before the division. Boundary F1 combines two shares: of the
    prediction's contour that is within `tolerance` of the reference's, and vice versa. It is computed for each image
    and each class in its reference, and averaged over images. Ignored pixels belong to no class, in the prediction too.

    Args:
        num_labels: the number of classes.
        width: the boundary's width, as a share of the image's diagonal (2 % in the paper).
        tolerance: as a share of the diagonal (0.75 % in the paper).
        ignore_index: the label of reference pixels that don't count.
    """

    def __init__(self, num_labels: int, width: float = 0.02, tolerance: float = 0.0075, ignore_index: int = IGNORE):
        self.num_labels, self.width, self.tolerance, self.ignore_index = num_labels, width, tolerance, ignore_index
        # by class: pixels in both boundaries, pixels in either, sum of F1 over images, number of images
        self.counts = np.zeros((4, num_labels))

    def add(self, prediction: np.ndarray, reference: np.ndarray) -> None:
        """Count one image. Both maps are (height, width) class indices; ignored reference pixels are `ignore_index`."""
        diagonal = float(np.hypot(*reference.shape))
        known = reference != self.ignore_index
        for label in np.union1d(prediction[known], reference[known]):
            if label >= self.num_labels:
                continue
            ours, theirs = (prediction == label) & known, reference == label
            band = [boundary(x, max(1, round(self.width * diagonal))) for x in (ours, theirs)]
            self.counts[0, label] += np.count_nonzero(band[0] & band[1])
            self.counts[1, label] += np.count_nonzero(band[0] | band[1])
            if theirs.any():
                self.counts[2, label] += _f1(boundary(ours, 1), boundary(theirs, 1), self.tolerance * diagonal)
                self.counts[3, label] += 1

    def compute(self) -> dict:
        """`boundary_iou` and `boundary_f1`, means over classes, and both by class (NaN if a class doesn't occur)."""
        with np.errstate(invalid="ignore"):
            iou, f1 = self.counts[0] / self.counts[1], self.counts[2] / self.counts[3]
        return {
            "boundary_iou": _mean(iou),
            "boundary_f1": _mean(f1),
            "per_category_boundary_iou": iou,
            "per_category_boundary_f1": f1,
        }


def boundary(mask: np.ndarray, width: int) -> np.ndarray:
    """The pixels of a mask, (height, width) bool, whose Chebyshev distance to its outside is at most `width`.

    The image's edge counts as outside.
    """
    inside = cv2.erode(
        mask.astype(np.uint8),
        np.ones((3, 3), np.uint8),
        iterations=width,
        borderType=cv2.BORDER_CONSTANT,
        borderValue=0,
    )
    return mask & (inside == 0)


def _f1(ours: np.ndarray, theirs: np.ndarray, tolerance: float) -> float:
    """F1 of two contours: the harmonic mean of the shares of each that lie within `tolerance` pixels of the other."""
    if not ours.any():
        return 0.0
    precision, recall = (_near(theirs, tolerance)[ours].mean(), _near(ours, tolerance)[theirs].mean())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _near(contour: np.ndarray, tolerance: float) -> np.ndarray:
    distance = cv2.distanceTransform((~contour).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return distance <= tolerance


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
