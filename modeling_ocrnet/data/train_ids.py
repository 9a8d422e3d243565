"""Converts the values stored in mask files, ids or exact colours, to train ids."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from .errors import DataError
from .labels import IGNORE, LabelSet, count_ids


def train_ids_of(values: np.ndarray, labels: LabelSet, path: str | None, train_ids: bool = False) -> np.ndarray:
    """Convert the values of a mask file to train ids (height, width) of `labels.dtype`.

    Args:
        values: ids (height, width), or colours (height, width, 3 or 4), as [`read_ids`] returns them.
        labels: the dataset's labels.
        path: the mask's file, for messages.
        train_ids: the file holds train ids already.

    Raises:
        DataError: for unknown ids or colours.
    """
    if values.ndim == 3:
        return _by_color(values, labels, path)
    to_train_ids = labels.train_id_files if train_ids else labels.to_train_ids
    top = len(to_train_ids) - 1
    if values.dtype != np.uint8:
        if values.size and (values.min() < 0 or values.max() > top):
            found = f"{values.min()} to {values.max()}"
            raise DataError(f"{path}: ids from {found}, expected 0 to {top}: are these instance ids?")
        values = values.astype(np.uint16 if top > 255 else np.uint8)
    known = to_train_ids >= 0
    # the ids of most datasets are 0..n without a gap: then only the largest id is compared, not all of them
    if not known[: int(values.max(initial=0)) + 1].all() and not known[_present(values)].all():
        raise DataError(f"{path}: {_unknown_ids(values, to_train_ids, labels)}")
    table = to_train_ids.astype(labels.dtype)
    return cv2.LUT(values, table[:256]) if values.dtype == np.uint8 else table[values]


def _present(ids: np.ndarray) -> np.ndarray:
    """The ids that occur, in order."""
    return np.flatnonzero(count_ids(ids) if ids.dtype == np.uint8 else np.bincount(ids.ravel()))


def pack_colors(pixels: np.ndarray) -> np.ndarray:
    """Pack RGB(A) pixels (..., 3 or 4) into one number each, (...,) uint32: red, green, blue from high to low bits."""
    red, green, blue = (pixels[..., i].astype(np.uint32) for i in range(3))
    return red << 16 | green << 8 | blue


def unpack_color(packed: int) -> tuple[int, int, int]:
    """The inverse, for one colour."""
    return packed >> 16, packed >> 8 & 255, packed & 255


@lru_cache(maxsize=4)
def _color_table(color_codes: tuple) -> np.ndarray:
    """Train id + 1 of each packed colour, (2 ** 24,) int32. The system allocates only pages that are written."""
    table = np.zeros(1 << 24, np.int32)
    for color, train_id in color_codes:
        table[pack_colors(np.array(color))] = train_id + 1
    return table


def _by_color(pixels: np.ndarray, labels: LabelSet, path: str | None) -> np.ndarray:
    """Train ids (height, width) of a picture (height, width, 3 or 4) in the classes' exact colours."""
    packed = pack_colors(pixels)
    found = _color_table(labels.color_codes)[packed]
    if found.min(initial=1) == 0:
        colors, counts = np.unique(packed[found == 0], return_counts=True)
        order = np.argsort(-counts)[:5]
        listed = ", ".join(f"{list(unpack_color(int(colors[i])))} on {counts[i]} pixels" for i in order)
        raise DataError(
            f"{path}: holds {len(colors)} colours that no class has: {listed}{', ...' if len(colors) > 5 else ''}; "
            "add them to classes.json, as classes or to its ignore_colors; mixed colours along edges come from "
            "smoothing: export without it"
        )
    return (found - 1).astype(labels.dtype)


def _unknown_ids(ids: np.ndarray, to_train_ids: np.ndarray, labels: LabelSet) -> str:
    present = _present(ids)
    unknown = [int(i) for i in present if to_train_ids[i] < 0]
    known = np.flatnonzero(to_train_ids >= 0)
    classes = len(labels.trained)
    message = (
        f"holds the ids {unknown[:10]}, which this dataset doesn't have (it has {len(known)} ids, up to {known[-1]})"
    )
    if labels.origin is not None:
        return message + f": add them to {labels.origin}, as classes or to its ignore_ids"
    if unknown == [IGNORE] and present[present != IGNORE].max(initial=0) < classes:
        return message + ": these look like train ids in a file of label ids; name such files ..._labelTrainIds.png"
    if to_train_ids[IGNORE] == IGNORE:
        return message + ": does a file of train ids hold label ids, or is this another dataset's label set?"
    return message + ": is this another dataset's label set?"
