"""Sensor noise."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .augmentation import Augmentation, Crop
from .fields import number


@dataclass(frozen=True, kw_only=True)
class Noise(Augmentation):
    """Adds normally distributed noise, independent for each pixel and channel."""

    sigma: float = number(15.0, 1, 128, "the noise's standard deviation, in grey levels of 0 to 255")
    """Largest standard deviation; those down to 0 are equally likely."""

    def apply(self, crop: Crop, rng: np.random.Generator) -> Crop:
        return replace(crop, image=add_noise(crop.image, rng.uniform(0, self.sigma), rng))


def add_noise(image: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Add noise of one standard deviation to an image, rounded and clipped to 0..255. numpy draws it, because
    torchvision would draw from torch's own generator."""
    noisy = rng.standard_normal(image.shape, dtype=np.float32)
    noisy *= np.float32(sigma)
    noisy += image
    return np.clip(np.rint(noisy, out=noisy), 0, 255, out=noisy).astype(np.uint8)
