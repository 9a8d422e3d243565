"""Augmentations that a recipe lists in `data.augmentations`: one class a file, by name.

They change the crop that a sample is made of, one after the other in the list's order, after the random resize, crop,
flip and photometric distortion and before the normalisation and the padding. All random numbers come from the sample's
own generator, so a sample stays a function of the seed and its position. torchvision's own transforms draw from torch's
generator: only its functions, which draw nothing, are used here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..labels import LabelSet
from .augmentation import Augmentation, Crop
from .blur import Blur
from .clahe import Clahe
from .cutout import Cutout
from .entries import check_entries, read_entry
from .grey import Grey
from .jpeg import Jpeg
from .noise import Noise
from .paste import Paste
from .rotate import Rotate

__all__ = ["AUGMENTATIONS", "Augmentation", "Crop", "augment", "for_classes", "read_augmentations"]

AUGMENTATIONS: dict[str, type[Augmentation]] = {
    "rotate": Rotate,
    "blur": Blur,
    "noise": Noise,
    "jpeg": Jpeg,
    "clahe": Clahe,
    "grey": Grey,
    "cutout": Cutout,
    "paste": Paste,
}


def read_augmentations(entries: Sequence[Mapping[str, Any]]) -> tuple[Augmentation, ...]:
    """The augmentations that a recipe lists.

    Args:
        entries: `[{"name": "rotate", "degrees": 10, "probability": 0.5}, ...]`; what isn't given is the default of the
            class in `AUGMENTATIONS`.

    Raises:
        UserError: for an unknown name or field, a value out of its range, or the same entry twice.
    """
    check_entries(entries)
    return tuple(read_entry(entry, AUGMENTATIONS) for entry in entries)


def for_classes(augmentations: Sequence[Augmentation], labels: LabelSet) -> tuple[Augmentation, ...]:
    """The same augmentations, with the train ids of the classes that they name.

    Raises:
        UserError: if the data have no class of a name.
    """
    return tuple(x.for_classes(labels) for x in augmentations)


def augment(
    augmentations: Sequence[Augmentation],
    image: np.ndarray,
    label: np.ndarray,
    rng: np.random.Generator,
    fill: tuple[int, int, int],
) -> tuple[np.ndarray, np.ndarray]:
    """Apply augmentations to a crop, each with its probability.

    Args:
        augmentations: from [`for_classes`].
        image: (height, width, 3) uint8 RGB.
        label: (height, width) train ids, uint8 or uint16; the highest value is ignored.
        rng: the sample's generator.
        fill: the RGB colour of pixels that show nothing.

    Returns:
        The new image and label; the given arrays aren't changed.
    """
    crop = Crop(image, label, fill)
    for augmentation in augmentations:
        crop = augmentation(crop, rng)
    return crop.image, crop.label
