"""Label sets: which ids a dataset's mask files hold, which of them are trained, and what they are called."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

IGNORE = 255  # the train id of pixels that neither the loss nor the metric counts


def count_ids(ids: np.ndarray) -> np.ndarray:
    """How often each of 0..255 occurs in a uint8 array, (256,) float32; exact below 16.7 million pixels."""
    return cv2.calcHist([ids], [0], None, [256], [0, 256]).ravel()  # OpenCV 4 gives a column


@dataclass(frozen=True)
class Label:
    """One row of a dataset's label table.

    `id` is the value in the mask files, `train_id` the class index (`IGNORE`: not trained), `color` is RGB.
    """

    name: str
    id: int
    train_id: int
    color: tuple[int, int, int]
    category: str = ""
    has_instances: bool = False


def distinct_color(index: int) -> tuple[int, int, int]:
    """PASCAL VOC's colour of class `index` (0 is black): any number of classes told apart.

    The index's bits go, three at a time, to the high bits of red, green and blue.
    """
    red = green = blue = 0
    for bit in range(8):
        digit = (index >> (3 * bit)) & 7
        red, green, blue = (x | (digit >> k & 1) << (7 - bit) for k, x in enumerate((red, green, blue)))
    return red, green, blue


@dataclass(frozen=True)
class LabelSet:
    """A dataset's labels.

    Args:
        labels: the table, in any order; train ids 0..K-1 must each occur exactly once.
        flip_pairs: pairs of train ids that a horizontal flip swaps (left arm, right arm).
        color_codes: for masks that are RGB pictures: the colours known, each with its train id.
        origin: the file that the labels were read from, for messages about own data.
    """

    labels: tuple[Label, ...]
    flip_pairs: tuple[tuple[int, int], ...] = ()
    color_codes: tuple[tuple[tuple[int, int, int], int], ...] = ()
    origin: str | None = None

    def __post_init__(self):
        train_ids = sorted(label.train_id for label in self.labels if label.train_id != IGNORE)
        if train_ids != list(range(len(train_ids))):
            raise ValueError(f"train ids must be 0..K-1, each once; got {train_ids}")

    @cached_property
    def trained(self) -> tuple[Label, ...]:
        """The trained labels, by train id."""
        return tuple(sorted((x for x in self.labels if x.train_id != IGNORE), key=lambda x: x.train_id))

    @property
    def names(self) -> tuple[str, ...]:
        """Class names, by train id."""
        return tuple(label.name for label in self.trained)

    @property
    def ids(self) -> tuple[int, ...]:
        """The dataset's own ids of the classes, by train id."""
        return tuple(label.id for label in self.trained)

    @cached_property
    def palette(self) -> np.ndarray:
        """RGB colours by train id, (256, 3) uint8; black where there is no class."""
        palette = np.zeros((256, 3), np.uint8)
        for label in self.trained:
            palette[label.train_id] = label.color
        return palette

    @cached_property
    def to_train_ids(self) -> np.ndarray:
        """File id to train id, (256 or more,) int16; -1 marks ids that the dataset doesn't know."""
        table = np.full(max(256, 1 + max(label.id for label in self.labels)), -1, np.int16)
        for label in self.labels:
            if label.id >= 0:
                table[label.id] = label.train_id
        return table

    @cached_property
    def train_id_files(self) -> np.ndarray:
        """The same for files that hold train ids already: 0..K-1 and `IGNORE` are known."""
        table = np.full(256, -1, np.int16)
        table[: len(self.trained)] = np.arange(len(self.trained))
        table[IGNORE] = IGNORE
        return table
