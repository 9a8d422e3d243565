"""Traces of JPEG's compression."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .augmentation import Augmentation, Crop, to_array, to_tensor
from .fields import whole

BEST = 95  # more makes files larger, and pictures no better


@dataclass(frozen=True, kw_only=True)
class Jpeg(Augmentation):
    """Compresses the image as a JPEG and decodes it again, with colours at half the resolution."""

    quality: int = whole(40, 1, BEST, "JPEG's quality, of which 100 is the best; not a share")
    """Lowest quality; those up to 95 are equally likely."""

    def apply(self, crop: Crop, rng: np.random.Generator) -> Crop:
        return replace(crop, image=compress(crop.image, int(rng.integers(self.quality, BEST, endpoint=True))))


def compress(image: np.ndarray, quality: int) -> np.ndarray:
    """What a JPEG of some quality keeps of an image (height, width, 3)."""
    from torchvision.transforms.v2 import functional

    return to_array(functional.jpeg(to_tensor(image), quality))
