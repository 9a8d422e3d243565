"""What `ocrnet configure` looks at in a dataset: numbers, sizes, classes and objects. Scores aren't among them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from datasets import Dataset
from tqdm import tqdm

from ..common.compat import transform_of
from ..common.errors import UserError
from ..data.decoding import Decode, located, read_ids
from ..data.labels import LabelSet
from ..data.pair_checks import PairFacts, count_pixels_by_class
from ..data.train_ids import train_ids_of
from ..preparation.class_weights import compute_class_weights
from ..preparation.statistics import SplitStatistics

MASKS = 256  # masks of the training split that are read, evenly spaced
PIXELS = 2**29  # or fewer, if these have more pixels together
_OBJECT_PIXELS = 2**22  # objects are looked for in every n-th row and column of larger masks
_OBJECTS = 5  # fewer say little of how thick a class is
_TOGETHER = 8  # masks in memory


@dataclass(frozen=True)
class DataFacts:
    """Facts about a dataset. All but the numbers of images are of a sample of the training split's masks.

    Args:
        names: of the classes.
        images, val_images: number of images to train on, and to score on.
        read: number of masks in the sample.
        sizes: the number of different sizes among them.
        width, height: medians, in pixels.
        smallest: the shortest edge of all, in pixels.
        largest: the longest edge of all, in pixels.
        shares: of each class in the labelled pixels, 0 to 1.
        thickness: of each class's objects in pixels, area by longest side; half of the class's pixels lie in thinner
            ones. `None` for a class with fewer than five objects.
        weights: of each class, with mean 1 over the labelled pixels: (its share) ** -0.4.
        flip_pairs: whether the classes say which of them a mirror swaps.
    """

    names: tuple[str, ...]
    images: int
    val_images: int
    read: int
    sizes: int
    width: int
    height: int
    smallest: int
    largest: int
    shares: tuple[float, ...]
    thickness: tuple[float | None, ...]
    weights: tuple[float, ...]
    flip_pairs: bool = False

    @property
    def edge(self) -> int:
        """The median image's short edge, in pixels."""
        return min(self.width, self.height)

    @property
    def aspect(self) -> float:
        """The median image's width by its height."""
        return self.width / self.height

    def resized(self, edge: int) -> tuple[float, float]:
        """(height, width) of the median image, resized to a short edge of so many pixels."""
        return (edge, edge * self.aspect) if self.aspect >= 1 else (edge / self.aspect, edge)

    def seen(self, edge: int, crop: Sequence[int]) -> float:
        """The share of the median image that a crop (height, width) shows if its short edge has so many pixels."""
        height, width = self.resized(edge)
        return min(1.0, crop[0] / height) * min(1.0, crop[1] / width)

    @property
    def rarest(self) -> int | None:
        """The class with the fewest pixels, of those that have any; `None` if none has."""
        present = [i for i, share in enumerate(self.shares) if share]
        return min(present, key=self.shares.__getitem__, default=None)

    @property
    def thinnest(self) -> tuple[float, str]:
        """Thickness and name of the class with the thinnest objects; infinite if no class has enough of them."""
        known = [(x, name) for x, name in zip(self.thickness, self.names, strict=True) if x is not None]
        return min(known, default=(math.inf, ""))


def look_at_data(train: Dataset, val_images: int, labels: LabelSet) -> DataFacts:
    """Read a sample of the training split's masks.

    Args:
        train: the split, checked.
        val_images: number of images to score on.
        labels: the classes.

    Raises:
        UserError: if no pixel of the sample is labelled.
        DataError: if a mask can't be read.
    """
    decode, files = transform_of(train), train.with_format(None).select_columns(["label", "name"])
    count = min(MASKS, len(train))
    rows = [i * len(train) // count for i in range(count)]
    found = SplitStatistics("train", len(labels.names))
    objects: list[list[tuple[float, int]]] = [[] for _ in labels.names]
    pixels = 0
    with ThreadPoolExecutor(_TOGETHER) as pool, tqdm(total=count, desc="reading masks", disable=None) as bar:
        for start in range(0, count, _TOGETHER):
            chunk = rows[start : start + _TOGETHER]
            for row, (facts, of_mask) in zip(chunk, pool.map(lambda i: _look(files[i], decode), chunk), strict=True):
                found.add(row, facts)
                pixels += int(facts.pixels.sum()) if facts.pixels is not None else 0
                for index, thickness in of_mask:
                    objects[index] += thickness
                bar.update()
            if pixels > PIXELS:
                break
    if not found.labelled:
        raise UserError(
            f"no pixel is labelled in {found.masks} masks, evenly spaced over the {len(train)} of the training split: "
            "take out those without labels, or give classes and ids that they hold"
        )
    sizes = np.array(list(found.sizes.elements()))
    return DataFacts(
        names=tuple(" ".join(x.split()) for x in labels.names),
        images=len(train),
        val_images=val_images,
        read=found.masks,
        sizes=len(found.sizes),
        width=int(np.median(sizes[:, 0])),
        height=int(np.median(sizes[:, 1])),
        smallest=int(sizes.min()),
        largest=int(sizes.max()),
        shares=tuple(found.share(i) for i in range(len(labels.names))),
        thickness=tuple(_median(x) for x in objects),
        weights=tuple(compute_class_weights(found, len(labels.names), 0.4).tolist()),
        flip_pairs=bool(labels.flip_pairs),
    )


def _look(row: dict, decode: Decode) -> tuple[PairFacts, list[tuple[int, list[tuple[float, int]]]]]:
    """A mask's size and pixels by class; and for each class in it, thickness and area of its objects."""
    source = located(row["label"], row["name"])
    values = read_ids(source, decode.labels, decode.max_pixels)
    label_map = train_ids_of(values, decode.labels, source["path"], decode.train_ids)
    size = (label_map.shape[1], label_map.shape[0])
    pixels = count_pixels_by_class(label_map, decode.labels)
    facts = PairFacts(row["name"], size=size, mask_size=size, pixels=pixels)
    step = max(1, int(np.ceil(np.sqrt(label_map.size / _OBJECT_PIXELS))))
    small = label_map[::step, ::step]
    held = [int(i) for i in np.flatnonzero(pixels[:-1])]
    return facts, [(i, [(x * step, area * step**2) for x, area in object_thickness(small == i)]) for i in held]


def object_thickness(mask: np.ndarray) -> list[tuple[float, int]]:
    """(thickness, area) in pixels of each object of a bool mask, (height, width).

    An object is what hangs together, over corners too. Its thickness is its area by the longest side of its box: that
    of a pole is its width.
    """
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    if not len(rows):
        return []
    part = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    _, _, boxes, _ = cv2.connectedComponentsWithStats(np.ascontiguousarray(part, np.uint8), connectivity=8)
    return [(area / max(width, height), int(area)) for _, _, width, height, area in boxes[1:].tolist()]


def _median(objects: list[tuple[float, int]]) -> float | None:
    """The thickness below which half of the pixels lie; `None` if there are too few objects."""
    if len(objects) < _OBJECTS:
        return None
    thickness, area = np.array(sorted(objects)).T
    return float(thickness[np.searchsorted(area.cumsum(), area.sum() / 2)])
