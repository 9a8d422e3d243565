"""Rows as arrays, for training: no Pillow image in between, and nothing decoded that a crop doesn't need."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from datasets import Dataset

from .decoding import DataError, Decode, is_matlab, read_image, read_mask, train_ids_of
from .png import PlainPng, plain_png
from .raw import raw_array


class Frames:
    """`frames[i]`: the image, the label map and the name of a dataset's row i.

    The image is (height, width, 3) uint8 RGB, an array or something that is read when it is sliced; the label map is
    (height, width) uint8 train ids. Both hold the very pixels of the dataset's rows.

    Args:
        dataset: from [`modeling_ocrnet.data.load`], or any whose rows hold `image`, `label` and `name`.
    """

    def __init__(self, dataset: Dataset):
        transform = dataset.format["format_kwargs"].get("transform")
        self._to_train_ids = transform.to_train_ids if isinstance(transform, Decode) else None
        self._rows = dataset if self._to_train_ids is None else dataset.with_format(None)

    def __getitem__(self, index: int) -> tuple[np.ndarray | PlainPng, np.ndarray, str]:
        row = self._rows[index]
        if self._to_train_ids is None:
            return np.asarray(row["image"]), np.asarray(row["label"]), row["name"]
        return _image(row["image"]), _label(row["label"], self._to_train_ids), row["name"]


def _image(source: dict) -> np.ndarray | PlainPng:
    if (stored := raw_array(source)) is not None:
        return stored
    source = _with_bytes(source)
    png = plain_png(source["bytes"], source["path"])
    return png if png is not None and len(png.shape) == 3 else np.asarray(read_image(source))


def _label(source: dict, to_train_ids: np.ndarray) -> np.ndarray:
    if (stored := raw_array(source)) is not None:  # written as train ids, and checked then
        return stored
    if is_matlab(source):
        return np.asarray(read_mask(source, to_train_ids))
    source = _with_bytes(source)
    png = plain_png(source["bytes"], source["path"])
    ids = png.whole() if png is not None and len(png.shape) == 2 else None
    if ids is None:
        return np.asarray(read_mask(source, to_train_ids))
    return train_ids_of(ids, to_train_ids, source["path"])


def _with_bytes(source: dict) -> dict:
    """The file's bytes and its name, which errors want."""
    if source["bytes"] is not None:
        return source
    try:
        return {"path": source["path"], "bytes": Path(source["path"]).read_bytes()}
    except OSError as error:
        raise DataError(f"{source['path']}: can't be read ({error.strerror})") from error
