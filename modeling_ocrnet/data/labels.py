"""Label sets: the ids in a dataset's mask files, the train id of each, and the class names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from ..configuration_ocrnet import ignore_index

Color = tuple[int, int, int]  # RGB
IGNORE = 255  # with up to 255 classes, the train id of pixels that the loss and the metric ignore


def ignored_in(label_map: np.ndarray) -> int:
    """The train id of ignored pixels in a label map: the highest value of its dtype, 255 or 65535."""
    return int(np.iinfo(label_map.dtype).max)


def label_dtype(classes: int) -> type[np.unsignedinteger]:
    """The dtype of label maps with that many classes: uint8 up to 255, uint16 above; the highest value is no class."""
    return np.uint8 if classes <= IGNORE else np.uint16


def count_ids(ids: np.ndarray) -> np.ndarray:
    """The number of pixels of each id: (256,) for a uint8 array, exact below 16.7 million pixels; (65536,) for
    uint16."""
    if ids.dtype != np.uint8:
        return np.bincount(ids.ravel(), minlength=2**16)
    return cv2.calcHist([ids], [0], None, [256], [0, 256]).ravel()  # OpenCV 4 gives a column


@dataclass(frozen=True)
class Label:
    """One row of a dataset's label table.

    `id` is the value in the mask files, `train_id` is the class index (`LabelSet.ignore` if not trained), `color` is
    RGB.
    """

    name: str
    id: int
    train_id: int
    color: tuple[int, int, int]
    category: str = ""
    has_instances: bool = False


def distinct_color(index: int) -> tuple[int, int, int]:
    """PASCAL VOC's colour of class `index` (0 is black), which differs from that of every other class.

    The bits of the index go, three at a time, to the high bits of red, green and blue.
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
        labels: the table, in any order; each train id from 0 to K-1 must occur exactly once.
        flip_pairs: pairs of train ids that a horizontal flip swaps (left arm, right arm).
        color_codes: for masks that are RGB pictures: each known colour with its train id.
        origin: the file that the labels were read from, for messages about custom datasets.
        ignore: the train id of ids that aren't trained: `IGNORE`, or 65535 if there are more than 255 classes.
        assumed_ignored: an id in the masks that is ignored by default, without being listed in `ignore_ids`.
        counted_from_one: the ids were counted from 1, because `reduce_zero_label` ignores 0.
    """

    labels: tuple[Label, ...]
    flip_pairs: tuple[tuple[int, int], ...] = ()
    color_codes: tuple[tuple[tuple[int, int, int], int], ...] = ()
    origin: str | None = None
    ignore: int = IGNORE
    assumed_ignored: int | None = None
    counted_from_one: bool = False

    @classmethod
    def from_rows(cls, *rows: tuple) -> LabelSet:
        """Create a label set from the fields of each [`Label`]."""
        return cls(tuple(Label(*row) for row in rows))

    @classmethod
    def from_names(cls, names: str, ids: Sequence[int], ignored: dict[str, int], **fields) -> LabelSet:
        """Create a label set from names only, with PASCAL VOC's colours.

        Args:
            names: the names of the classes, separated by commas, in the order of their train ids.
            ids: their ids in the masks.
            ignored: names and ids in the masks that aren't trained.
            fields: further fields of the label set.
        """
        listed = [" ".join(name.split()) for name in names.split(",")]
        if len(listed) != len(ids):
            raise ValueError(f"{len(listed)} names for {len(ids)} ids")
        first = 0 if listed[0].lower() == "background" else 1  # only a background is black
        trained = (Label(name, ids[k], k, distinct_color(first + k)) for k, name in enumerate(listed))
        return cls((*trained, *(Label(name, id_, IGNORE, (0, 0, 0)) for name, id_ in ignored.items())), **fields)

    def __post_init__(self):
        train_ids = sorted(label.train_id for label in self.labels if label.train_id != self.ignore)
        if train_ids != list(range(len(train_ids))):
            raise ValueError(f"train ids must be 0..K-1, each once; got {train_ids}")
        if self.ignore != ignore_index(len(train_ids)):
            raise ValueError(f"ignore is {self.ignore}, expected {ignore_index(len(train_ids))} for these classes")

    @cached_property
    def trained(self) -> tuple[Label, ...]:
        """The trained labels, by train id."""
        return tuple(sorted((x for x in self.labels if x.train_id != self.ignore), key=lambda x: x.train_id))

    @property
    def names(self) -> tuple[str, ...]:
        """Class names, by train id."""
        return tuple(label.name for label in self.trained)

    @property
    def ids(self) -> tuple[int, ...]:
        """The dataset's ids of the classes, by train id."""
        return tuple(label.id for label in self.trained)

    @property
    def dtype(self) -> type[np.unsignedinteger]:
        """The dtype of label maps of train ids."""
        return label_dtype(len(self.trained))

    @cached_property
    def palette(self) -> np.ndarray:
        """RGB colours by train id, (`ignore` + 1, 3) uint8; black for train ids without a class."""
        palette = np.zeros((self.ignore + 1, 3), np.uint8)
        for label in self.trained:
            palette[label.train_id] = label.color
        return palette

    @cached_property
    def ignored_colors(self) -> frozenset[tuple[int, int, int]]:
        """The colours of own masks that are ignored as colours only, without an id."""
        return frozenset(x.color for x in self.labels if x.id < 0) if self.origin is not None else frozenset()

    @cached_property
    def to_train_ids(self) -> np.ndarray:
        """The train id of each id in the files, (256 or more,) int32; -1 marks ids that the dataset doesn't have."""
        table = np.full(max(256, 1 + max(label.id for label in self.labels)), -1, np.int32)
        for label in self.labels:
            if label.id >= 0:
                table[label.id] = label.train_id
        return table

    @cached_property
    def train_id_files(self) -> np.ndarray:
        """The same table for files that hold train ids already: 0 to K-1 and `ignore` are known."""
        table = np.full(self.ignore + 1, -1, np.int32)
        table[: len(self.trained)] = np.arange(len(self.trained))
        table[self.ignore] = self.ignore
        return table
