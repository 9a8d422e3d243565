"""Decodes regions in COCO's annotation format, run lengths or polygons, to masks.

pycocotools does this too, but has to be compiled, and only a few functions of it are needed here.
"""

from __future__ import annotations

import numpy as np

from ..data.decoding import DataError


def region_mask(region: dict | list, height: int, width: int) -> np.ndarray:
    """The pixels of a region, (height, width) bool.

    Args:
        region: `{"size": [height, width], "counts": ...}` with run lengths, compressed (a string) or not (a list); or
            a list of polygons [x0, y0, x1, y1, ...] in pixels, where pixel (0, 0) extends from 0 to 1.
        height: of the image, in pixels.
        width: of the image, in pixels.

    Raises:
        DataError: if the run lengths don't fill the image, or the region has another format.
    """
    if isinstance(region, list):
        mask = np.zeros((height, width), bool)
        for polygon in region:
            mask |= _polygon_mask(polygon, height, width)
        return mask
    if not isinstance(region, dict) or not isinstance(region.get("counts"), (str, list)):
        raise DataError(f"the segmentation is {str(region)[:40]}, expected run lengths or a list of polygons")
    if list(region.get("size", ())) != [height, width]:
        raise DataError(f"the segmentation has the size {region.get('size')}, but its image has [{height}, {width}]")
    counts = region["counts"]
    runs = decompress(counts) if isinstance(counts, str) else np.asarray(counts, np.int64)
    # each run is checked, because the sum may overflow to the right number
    if runs.ndim != 1 or (runs.size and not 0 <= runs.min() <= runs.max() <= height * width):
        raise DataError(f"a run length is negative, or longer than the {height * width} pixels of the image")
    if runs.sum() != height * width:
        raise DataError(f"the run lengths have {runs.sum()} pixels in total, expected {height * width}")
    values = np.arange(len(runs)) % 2 == 1  # the first run is outside of the region
    return np.repeat(values, runs).reshape((height, width), order="F")  # runs go down the columns, from left to right


def decompress(text: str) -> np.ndarray:
    """Decode COCO's compressed string to run lengths, int64.

    A number is written in digits of five bits, the lowest first, each as a character from "0" (48) on. Bit 32 of a
    digit means that another digit follows; bit 16 of the last digit means that the number is negative. From the fourth
    number on, each is the difference from the number two places before.

    Raises:
        DataError: if a character isn't in this alphabet, or a number is incomplete.
    """
    digits = np.frombuffer(text.encode("utf-8"), np.uint8).astype(np.int64) - 48
    if digits.size == 0:
        return digits
    if digits.min() < 0 or digits.max() > 63 or digits[-1] & 32:
        raise DataError(f"the run lengths {text[:40]!r} aren't COCO's compressed ones")
    ends = np.flatnonzero(digits & 32 == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > 12:  # 60 bits
        raise DataError(f"the run lengths {text[:40]!r} aren't COCO's compressed ones")
    places = 5 * (np.arange(len(digits)) - np.repeat(starts, lengths))
    numbers = np.add.reduceat((digits & 31) << places, starts)
    numbers -= np.where(digits[ends] & 16, np.left_shift(1, 5 * lengths), 0)
    for first in (1, 2):  # undo the differences
        numbers[first::2] = np.cumsum(numbers[first::2])
    return numbers


def _polygon_mask(polygon: list[float], height: int, width: int) -> np.ndarray:
    """Pixels whose centres are inside, by the even-odd rule."""
    try:
        corners = np.asarray(polygon, np.float64).reshape(-1, 2)
    except (TypeError, ValueError) as error:
        raise DataError(f"the polygon is {str(polygon)[:40]}, expected numbers x0, y0, x1, y1, ...") from error
    crossings = np.zeros((height, width + 1), np.int64)
    centres = np.arange(height) + 0.5
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        rows = np.flatnonzero((y0 <= centres) != (y1 <= centres))
        x = x0 + (centres[rows] - y0) * (x1 - x0) / (y1 - y0 if y1 != y0 else 1.0)
        # a line from the left to any centre right of the edge crosses it
        np.add.at(crossings, (rows, np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)), 1)
    return np.cumsum(crossings[:, :width], axis=1) % 2 == 1
