"""Gaussian blur."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from .augmentation import Augmentation, Crop, to_array, to_tensor
from .fields import number

LEAST = 0.1  # the smallest sigma, which changes nothing


@dataclass(frozen=True, kw_only=True)
class Blur(Augmentation):
    """Blurs the image, as a lens out of focus or a picture that was enlarged."""

    sigma: float = number(2.0, 0.5, 20, "the Gaussian's standard deviation, in pixels of the crop")
    """Largest standard deviation; those down to 0.1 are equally likely."""

    def apply(self, crop: Crop, rng: np.random.Generator) -> Crop:
        return replace(crop, image=blur(crop.image, rng.uniform(LEAST, self.sigma)))


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blur an image (height, width, 3); the kernel ends at three standard deviations, edges are mirrored."""
    from torchvision.transforms.v2 import functional

    # mirroring needs an image that is larger than the kernel's radius; torchvision's sizes are (width, height)
    width, height = (2 * min(math.ceil(3 * sigma), image.shape[axis] - 1) + 1 for axis in (1, 0))
    return to_array(functional.gaussian_blur(to_tensor(image), [width, height], [sigma, sigma]))
