"""Arrays inside large files: the entries of a raw store, read by memory map."""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np

from .errors import DataError

_ENTRY = re.compile(r"(.+\.raw)#(\d+):(\d+)x(\d+)(x3|u16)?")
WIDE = np.dtype("<u2")  # of label maps of more than 255 classes


def raw_path(file: str, offset: int, shape: tuple[int, ...], wide: bool = False) -> str:
    """What stands for a path in the rows of a raw store: the file, the array's first byte, its shape, and if its
    values take two bytes."""
    return f"{file}#{offset}:{'x'.join(map(str, shape))}{'u16' if wide else ''}"


def raw_array(source: dict) -> np.ndarray | None:
    """The array of an entry `{"path": ..., "bytes": ...}`, uint8 or uint16, of which nothing is read until it is used.

    `None` where the entry isn't one of a raw store.

    Raises:
        DataError: where the file isn't there, or the array isn't inside it.
    """
    match = _ENTRY.fullmatch(source["path"] or "") if source["bytes"] is None else None
    if match is None:
        return None
    file, offset, height, width, kind = match.groups()
    shape = (int(height), int(width), 3) if kind == "x3" else (int(height), int(width))
    try:
        return np.ndarray(shape, WIDE if kind == "u16" else np.uint8, _mapped(file), int(offset))
    except (OSError, TypeError, ValueError) as error:
        raise DataError(f"{source['path']}: isn't part of a raw store ({error})") from error


@lru_cache(maxsize=64)
def _mapped(file: str) -> np.memmap:
    return np.memmap(file, np.uint8, mode="r")
