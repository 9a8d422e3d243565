"""What augmentations have in common: the crop that they change, and the probability with which they do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np
import torch

from ..labels import LabelSet
from .fields import number


@dataclass(frozen=True)
class Crop:
    """A crop on its way through the augmentations. Its arrays may be views of the dataset's: none may be written to.

    Args:
        image: (height, width, 3) uint8 RGB.
        label: (height, width) train ids, uint8 or uint16; the highest value is ignored.
        fill: the RGB colour of pixels that show nothing: the mean, which is 0 after the normalisation.
        filled: (height, width) bool, the pixels that show nothing; `None` if there are none.
    """

    image: np.ndarray
    label: np.ndarray
    fill: tuple[int, int, int]
    filled: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """A random change of a crop. The docstrings of its fields say what a recipe may give."""

    probability: float = number(0.5, 0, 1, "a share, so 50 % is 0.5")
    """Probability that a crop is changed."""

    def __call__(self, crop: Crop, rng: np.random.Generator) -> Crop:
        """The changed crop, or the crop itself."""
        return self.apply(crop, rng) if rng.random() < self.probability else crop

    def apply(self, crop: Crop, rng: np.random.Generator) -> Crop:
        """The changed crop."""
        raise NotImplementedError

    def for_classes(self, labels: LabelSet) -> Self:
        """The same with the train ids of the classes that it names, if it names any.

        Raises:
            UserError: if the data have no class of a name.
        """
        return self


def to_tensor(image: np.ndarray) -> torch.Tensor:
    """(height, width, channels) to a tensor (channels, height, width) of its own memory."""
    return torch.from_numpy(np.stack(cv2.split(image)))


def to_array(image: torch.Tensor) -> np.ndarray:
    """(channels, height, width) to an array (height, width, channels), as OpenCV takes it."""
    return cv2.merge(list(image.numpy()))
