"""Class weights from class frequencies, ready for a recipe."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..common.errors import UserError
from .statistics import SplitStatistics


def compute_class_weights(split: SplitStatistics, classes: int, method: float | Literal["median"]) -> np.ndarray:
    """A weight for each class, (classes,) float64, of mean 1 over the labelled pixels: the loss keeps its size.

    Args:
        split: what was counted.
        classes: number of classes.
        method: p for (share of the labelled pixels) ** -p; 0 weighs all alike, 1 lets all classes count alike. Or
            `"median"`: the median frequency over the class's own, where a frequency is the class's pixels by the
            labelled pixels of the images in which it occurs (Eigen and Fergus, ICCV 2015).

    Returns:
        The weights; 1 for classes that don't occur, which train nothing.

    Raises:
        UserError: where nothing is labelled, or p is negative.
    """
    pixels, context = split.pixels[:classes], split.context[:classes]
    present = pixels > 0
    if not present.any():
        raise UserError(f"no class weights: nothing is labelled in {split.name}")
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
    """The line of a recipe, for `model: config:`; four digits."""
    # never an exponent: YAML reads 1e-05 as text
    digits = (np.format_float_positional(x, precision=4, fractional=False, trim="0") for x in weights)
    return f"class_weights: [{', '.join(digits)}]"
