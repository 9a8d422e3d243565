"""Small objects of rare classes, copied to other places of their crop (as Kisantal et al., arXiv 1902.07296)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import cv2
import numpy as np

from ...common.errors import UserError
from ..class_names import ids_of_classes
from ..labels import LabelSet
from .augmentation import Augmentation, Crop
from .fields import names, whole

TRIES = 20  # places that are drawn for a copy before it is left out


@dataclass(frozen=True)
class Thing:
    """An object of a crop.

    Args:
        class_id: its train id.
        image: (height, width, 3) uint8, its box.
        mask: (height, width) bool, its pixels in the box.
    """

    class_id: int
    image: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Paste(Augmentation):
    """Copies small objects of the classes named to other places of the crop, half of them mirrored.

    An object is what its class covers in one piece. One that the crop's border, a rotation or a cut-out cuts isn't
    copied. A copy lies wholly inside the crop and covers no pixel of the classes named, nor of another copy; one that
    finds no such place is left out.
    """

    classes: tuple[str, ...] = names("names of classes")
    """Classes whose objects are copied, by their names. The classes in a crop are equally likely."""
    max_size: int = whole(64, 2, 100_000, "pixels of the crop")
    """Longest edge that an object's bounding box may have, in pixels of the crop."""
    min_pixels: int = whole(16, 1, 1_000_000, "pixels of the crop")
    """Fewest pixels that an object may have: fewer are more likely a mask's speckles."""
    copies: int = whole(3, 1, 1000, "copies in a crop")
    """Number of copies in a crop."""
    ids: tuple[int, ...] = ()
    flip_pairs: tuple[tuple[int, int], ...] = ()

    def __post_init__(self):
        if self.min_pixels > self.max_size**2:
            raise UserError(
                f"data.augmentations: min_pixels of paste is {self.min_pixels}, more than an object of max_size "
                f"{self.max_size} can have: {self.max_size**2}"
            )

    def for_classes(self, labels: LabelSet) -> Self:
        ids = ids_of_classes(self.classes, labels, "data.augmentations: paste")
        return replace(self, ids=ids, flip_pairs=labels.flip_pairs)

    def apply(self, crop: Crop, rng: np.random.Generator) -> Crop:
        found = [
            things for class_id in self.ids if (things := whole_things(crop, class_id, self.max_size, self.min_pixels))
        ]
        if not found:
            return crop
        image, label = crop.image.copy(), crop.label.copy()
        filled = None if crop.filled is None else crop.filled.copy()
        taken = np.isin(label, self.ids)
        for _ in range(self.copies):
            things = found[rng.integers(len(found))]
            thing = things[rng.integers(len(things))]
            if rng.random() < 0.5:
                thing = mirrored(thing, self.flip_pairs)
            if (box := _free_box(thing.mask, taken, rng)) is None:
                continue
            image[box][thing.mask] = thing.image[thing.mask]
            label[box][thing.mask] = thing.class_id
            taken[box] |= thing.mask
            if filled is not None:
                filled[box] &= ~thing.mask
        return Crop(image, label, crop.fill, filled)


def whole_things(crop: Crop, class_id: int, max_size: int, min_pixels: int) -> list[Thing]:
    """The objects of a class that aren't cut: by the crop's border, or by pixels that show nothing.

    Args:
        crop: it may have been rotated or cut out already.
        class_id: the class's train id.
        max_size: the longest edge of an object's bounding box, in pixels.
        min_pixels: the fewest pixels of an object.
    """
    of_class = (crop.label == class_id).astype(np.uint8)
    if not of_class.any():
        return []
    _, parts, boxes, _ = cv2.connectedComponentsWithStats(of_class, connectivity=8)
    left, top, width, height, pixels = boxes.T
    small = (np.maximum(width, height) <= max_size) & (pixels >= min_pixels)
    whole = (left > 0) & (top > 0) & (left + width < of_class.shape[1]) & (top + height < of_class.shape[0])
    small[0] = False  # part 0 is what has another class
    things = []
    for part in np.flatnonzero(small & whole):
        box = slice(top[part], top[part] + height[part]), slice(left[part], left[part] + width[part])
        mask = parts[box] == part
        if crop.filled is None or not _reaches(mask, box, crop.filled):
            things.append(Thing(class_id, crop.image[box], mask))
    return things


def _reaches(mask: np.ndarray, box: tuple[slice, slice], filled: np.ndarray) -> bool:
    """Whether an object, which doesn't touch the crop's border, touches pixels that show nothing."""
    around = tuple(slice(x.start - 1, x.stop + 1) for x in box)
    touched = cv2.dilate(np.pad(mask.astype(np.uint8), 1), np.ones((3, 3), np.uint8))
    return bool(np.any(filled[around] & (touched > 0)))


def mirrored(thing: Thing, flip_pairs: Sequence[tuple[int, int]]) -> Thing:
    """A mirrored object; a left arm has become a right arm."""
    swap = {**dict(flip_pairs), **{b: a for a, b in flip_pairs}}
    return Thing(swap.get(thing.class_id, thing.class_id), thing.image[:, ::-1], thing.mask[:, ::-1])


def _free_box(mask: np.ndarray, taken: np.ndarray, rng: np.random.Generator) -> tuple[slice, slice] | None:
    """A random place for an object where it covers no pixel that is taken, if one is found."""
    height, width = mask.shape
    for _ in range(TRIES):
        top, left = (int(rng.integers(0, taken.shape[i] - mask.shape[i] + 1)) for i in (0, 1))
        box = slice(top, top + height), slice(left, left + width)
        if not np.any(taken[box] & mask):
            return box
    return None
