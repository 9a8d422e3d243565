"""Where the classes of a dataset lie: a point for each class in each tile of each mask."""

from __future__ import annotations

import logging
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from datasets import Dataset
from tqdm import tqdm

from ..common.compat import transform_of
from .decoding import DataError, Decode
from .labels import count_ids, ignored_in
from .numpy_rows import decode_label

logger = logging.getLogger(__name__)

THREADS, IN_FLIGHT = 8, 256  # that read masks; masks whose points are kept by row
SHOWN = 3  # unreadable masks that a warning names


@dataclass(frozen=True)
class Tiling:
    """How masks are cut into square tiles. What lies beyond the last whole tile, right and below, is a tile too.

    Args:
        side: of a tile, in pixels of the mask; `None`: as follows.
        crop: (height, width) of a training crop. A tile's side is the crop's shorter edge, in pixels of the mask: as
            much of the picture as the crop holds if the random resize is by 1. `None`: one tile is a whole mask.
        scale: (long, short) edge to which the resize by 1 leads, as [`TrainingTransform`]'s.
    """

    side: int | None = None
    crop: tuple[int, int] | None = None
    scale: tuple[int, int] | None = None

    def side_for(self, size: tuple[int, int]) -> int:
        """The side of a tile of a mask of `size` (height, width)."""
        if self.side is not None:
            return self.side
        if self.crop is None or self.scale is None:
            return max(size)
        factor = min(max(self.scale) / max(size), min(self.scale) / min(size))
        return max(1, math.ceil(min(self.crop) / factor - 1e-6))  # rounded up: no narrow tile is left over


@dataclass(frozen=True)
class ClassTiles:
    """The points of a dataset's classes.

    Args:
        table: (points, 4) int32, sorted by class: class, row of the dataset, x and y in pixels of the mask. Class -1
            marks a row whose mask couldn't be read.
        classes: number of the dataset's classes.
        digest: of the table, as hexadecimal digits.
    """

    table: np.ndarray
    classes: int
    digest: str

    @cached_property
    def starts(self) -> np.ndarray:
        """(classes + 1,) the index of each class's first point in the table, and the table's length."""
        return np.searchsorted(self.table[:, 0], np.arange(self.classes + 1))

    @property
    def unread(self) -> int:
        """Number of rows whose mask couldn't be read."""
        return int(self.starts[0])

    @property
    def counts(self) -> np.ndarray:
        """(classes,) number of points of each class."""
        return np.diff(self.starts)


def class_points(label_map: np.ndarray, classes: int, side: int) -> np.ndarray:
    """The centroid of each class in each tile.

    What whole tiles leave right and below is cut into narrower ones. NVIDIA's code drops it, so what lies there is
    never drawn.

    Args:
        label_map: (height, width) train ids.
        classes: number of classes.
        side: of a tile, in pixels.

    Returns:
        (points, 3) int32: class, x, y, sorted by class, then by tile, row by row. A centroid is the mean of the class's
        pixels in the tile, rounded down. It may lie outside them: between two poles, inside a ring.
    """
    points: list[tuple[int, int, int]] = []
    height, width = label_map.shape
    for top in range(0, height, side):
        for left in range(0, width, side):
            tile = np.ascontiguousarray(label_map[top : top + side, left : left + side])
            # the last count is that of ignored pixels
            for index in np.flatnonzero(count_ids(tile)[: min(classes, ignored_in(tile))]):
                x, y = _centroid(tile, int(index))
                points.append((int(index), left + x, top + y))
    points.sort(key=lambda point: point[0])  # keeps the order of the tiles
    return np.array(points, np.int32).reshape(-1, 3)


def _centroid(tile: np.ndarray, index: int) -> tuple[int, int]:
    """(x, y) of a class's pixels: their mean, rounded down. OpenCV's calls, unlike numpy's, let other threads run."""
    mask = cv2.inRange(tile, index, index)
    center = []
    for axis in (0, 1):
        sums = cv2.reduce(mask, axis, cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel().astype(np.int64)
        center.append(int(sums @ np.arange(len(sums)) // sums.sum()))
    return center[0], center[1]


def read_class_points(dataset: Dataset, tiling: Tiling, tolerate: bool = False) -> np.ndarray:
    """Read all masks, and find the points of all classes.

    Args:
        dataset: from [`modeling_ocrnet.data.load`].
        tiling: how masks are cut.
        tolerate: leave out masks that can't be read, with one warning.

    Returns:
        The table of [`ClassTiles`].

    Raises:
        DataError: for the first mask that can't be read.
    """
    decode: Decode = transform_of(dataset)
    rows = dataset.with_format(None).select_columns(["label", "name"])
    classes = len(decode.labels.trained)
    unread: list[str] = []

    def read(row: int) -> np.ndarray:
        try:
            label_map = decode_label(rows[row], decode)
        except DataError as error:
            if not tolerate:
                raise
            unread.append(str(error))
            return np.array([[-1, row, 0, 0]], np.int32)
        points = class_points(label_map, classes, tiling.side_for(label_map.shape))
        return np.insert(points, 1, row, axis=1)

    found: list[np.ndarray] = [np.empty((0, 4), np.int32)]
    with (
        ThreadPoolExecutor(THREADS) as pool,
        tqdm(total=len(rows), desc="finding classes", unit="mask", disable=None) as bar,
    ):
        for start in range(0, len(rows), IN_FLIGHT):
            chunk = range(start, min(start + IN_FLIGHT, len(rows)))
            found.append(np.concatenate(list(pool.map(read, chunk))))
            bar.update(len(chunk))
    if unread:
        named = "\n  ".join(unread[:SHOWN])
        logger.warning(
            "%d of %d masks can't be read, so no class is drawn from them:\n  %s", len(unread), len(rows), named
        )
    table = np.concatenate(found)
    return table[np.argsort(table[:, 0], kind="stable")]
