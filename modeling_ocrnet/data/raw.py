"""Arrays inside large files: the entries of a raw store, read by memory map."""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np

from .errors import DataError

_ENTRY = re.compile(r"(.+\.raw)#(\d+):(\d+)x(\d+)(x3)?")


def raw_path(file: str, offset: int, shape: tuple[int, ...]) -> str:
    """What stands for a path in the rows of a raw store: the file, the array's first byte and its shape."""
    return f"{file}#{offset}:{'x'.join(map(str, shape))}"


def raw_array(source: dict) -> np.ndarray | None:
    """The uint8 array of an entry `{"path": ..., "bytes": ...}`, of which nothing is read until it is used.

    `None` where the entry isn't one of a raw store.

    Raises:
        DataError: where the file isn't there, or the array isn't inside it.
    """
    match = _ENTRY.fullmatch(source["path"] or "") if source["bytes"] is None else None
    if match is None:
        return None
    file, offset, height, width, color = match.groups()
    shape = (int(height), int(width), 3) if color else (int(height), int(width))
    try:
        return np.ndarray(shape, np.uint8, _mapped(file), int(offset))
    except (OSError, TypeError, ValueError) as error:
        raise DataError(f"{source['path']}: isn't part of a raw store ({error})") from error


@lru_cache(maxsize=64)
def _mapped(file: str) -> np.memmap:
    return np.memmap(file, np.uint8, mode="r")
