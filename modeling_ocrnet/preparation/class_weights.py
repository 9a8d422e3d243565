"""Class weights from class frequencies, ready for a recipe."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..common.errors import UserError
from .statistics import SplitStatistics


def compute_class_weights(split: SplitStatistics, classes: int, method: float | Literal["median"]) -> np.ndarray:
    """Compute a weight for each class, with mean 1 over the labelled pixels, so that the scale of the loss is kept.

    Args:
        split: the statistics of a split.
        classes: number of classes.
        method: p for (share of the labelled pixels) ** -p: with 0 all pixels have the same weight, with 1 all classes
            have the same total weight. Or `"median"`: the median frequency divided by the class's frequency, which is
            its pixels divided by the labelled pixels of the images that contain it (Eigen and Fergus, ICCV 2015).

    Returns:
        The weights, (classes,) float64; 1 for classes that don't occur, which has no effect.

    Raises:
        UserError: if no pixel is labelled, or p is negative.
    """
    pixels, context = split.pixels[:classes], split.context[:classes]
    present = pixels > 0
    if not present.any():
        raise UserError(f"no class weights: no pixel is labelled in {split.name}")
    counts = pixels[present].astype(np.float64)
    if method == "median":
        frequency = counts / context[present]
        found = np.median(frequency) / frequency
    elif method < 0:
        raise UserError(f"class weights: the power must be 0 or more, got {method}")
    else:
        found = (counts / counts.sum()) ** -method
    weights = np.ones(classes)
    weights[present] = found / np.average(found, weights=counts)
    return weights


def class_weights_as_yaml(weights: np.ndarray) -> str:
    """The line for `model: config:` in a recipe; weights have four significant digits."""
    # without exponents, because YAML reads 1e-05 as a string
    digits = (np.format_float_positional(x, precision=4, fractional=False, trim="0") for x in weights)
    return f"class_weights: [{', '.join(digits)}]"
