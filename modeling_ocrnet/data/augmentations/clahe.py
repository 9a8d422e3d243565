"""Contrast limited adaptive histogram equalisation (Zuiderveld, in Graphics Gems IV, 1994)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from .augmentation import Augmentation, Crop
from .fields import number, whole


@dataclass(frozen=True, kw_only=True)
class Clahe(Augmentation):
    """Raises the contrast of each part of the image by itself: dark corners become visible, fog thinner."""

    clip_limit: float = number(4.0, 1.5, 40, "how steep a tile's mapping may be, as a multiple of an even histogram")
    """Largest clip limit; those down to 1, which changes little, are equally likely."""
    tiles: int = whole(8, 1, 64, "tiles along each edge of the crop")
    """Tiles along each edge, each with a histogram of its own."""

    def apply(self, crop: Crop, rng: np.random.Generator) -> Crop:
        return replace(crop, image=equalize(crop.image, rng.uniform(1, self.clip_limit), self.tiles))


def equalize(image: np.ndarray, clip_limit: float, tiles: int) -> np.ndarray:
    """Equalise the lightness (L of CIELAB) of an image (height, width, 3); its colours stay."""
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    lab[..., 0] = cv2.createCLAHE(clip_limit, (tiles, tiles)).apply(lab[..., 0])
    return cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)
