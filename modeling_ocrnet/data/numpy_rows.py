"""Rows as arrays, for training: the same pixels as in the dataset's rows, without a Pillow image in between."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from datasets import Dataset

from ..common.compat import transform_of
from .decoding import DataError, Decode, located, read_image, read_mask
from .errors import size_problem
from .image_headers import check_file
from .matlab import is_matlab
from .memory_mapped_store import memory_mapped_array
from .png import decode_png
from .train_ids import train_ids_of


class NumpyRows:
    """`rows[i]` is the image (height, width, 3) uint8 RGB, the label map (height, width) of train ids (uint8; uint16
    for more than 255 classes) and the name of row i of a dataset.

    Args:
        dataset: from [`modeling_ocrnet.data.load`].
    """

    def __init__(self, dataset: Dataset):
        self._decode = transform_of(dataset)
        self._rows = dataset.with_format(None)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, str]:
        return decode_row(self._rows[index], self._decode)


def decode_row(row: dict, decode: Decode) -> tuple[np.ndarray, np.ndarray, str]:
    """Decode a row to what [`NumpyRows`] returns.

    Arrays in a memory-mapped store are views: only the part that is used is read.

    Raises:
        DataError: if a file can't be read, or the mask and its image differ in size.
    """
    image, label = _image(row["image"], row["name"], decode), _label(row["label"], row["name"], decode)
    # a stream's sizes weren't compared before, and headers don't show every EXIF orientation
    path = located(row["label"], row["name"])["path"]
    if problem := size_problem(path, label.shape[::-1], image.shape[1::-1]):
        raise DataError(problem)
    return image, label, row["name"]


def decode_label(row: dict, decode: Decode) -> np.ndarray:
    """The label map of a row, as in [`NumpyRows`], without its image.

    Raises:
        DataError: if it can't be read.
    """
    return _label(row["label"], row["name"], decode)


def _image(source: dict, name: str, decode: Decode) -> np.ndarray:
    if (stored := memory_mapped_array(source)) is not None:
        return stored
    source = _with_bytes(source, name)
    pixels = decode_png(source["bytes"], decode.max_pixels)
    if pixels is not None and pixels.ndim == 3:
        return pixels
    return np.asarray(read_image(source, decode.value_range, decode.max_pixels))


def _label(source: dict | None, name: str, decode: Decode) -> np.ndarray:
    if source is None:
        raise DataError(f"{name}: has no mask; training needs one for every image")
    if (stored := memory_mapped_array(source)) is not None:  # checked when it was exported, as train ids
        return stored
    labels = decode.labels
    if is_matlab(source):
        return np.asarray(read_mask(source, labels, decode.train_ids, decode.max_pixels))
    source = _with_bytes(source, name)
    ids = decode_png(source["bytes"], decode.max_pixels)
    if ids is None or ids.ndim == 3:
        return np.asarray(read_mask(source, labels, decode.train_ids, decode.max_pixels))
    return train_ids_of(ids, labels, source["path"], decode.train_ids)


def _with_bytes(source: dict, name: str) -> dict:
    """The entry with the file's bytes, and a path for messages."""
    if source["bytes"] is not None:
        return located(source, name)
    if "://" in source["path"]:
        return source
    check_file(source["path"])
    try:
        return {"path": source["path"], "bytes": Path(source["path"]).read_bytes()}
    except OSError as error:
        raise DataError(f"{source['path']}: can't be read ({error.strerror})") from error
