"""Traces of JPEG's compression."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from .augmentation import Augmentation, Crop
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
    # torchvision's JPEGs are deprecated since 0.29
    _, file = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.cvtColor(cv2.imdecode(file, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
