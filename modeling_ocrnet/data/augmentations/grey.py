"""Pictures without colour."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .augmentation import Augmentation, Crop, to_array, to_tensor
from .fields import number


@dataclass(frozen=True, kw_only=True)
class Grey(Augmentation):
    """Takes the colours away, so that shapes must do."""

    probability: float = number(0.1, 0, 1, "a share, so 10 % is 0.1")
    """Probability that a crop is changed."""

    def apply(self, crop: Crop, rng: np.random.Generator) -> Crop:
        return replace(crop, image=to_grey(crop.image))


def to_grey(image: np.ndarray) -> np.ndarray:
    """The luma (ITU-R BT.601) of an image (height, width, 3), in all three channels."""
    from torchvision.transforms.v2 import functional

    return to_array(functional.rgb_to_grayscale(to_tensor(image), num_output_channels=3))
