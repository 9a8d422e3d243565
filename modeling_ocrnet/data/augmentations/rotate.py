"""Rotation around the crop's centre."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..labels import ignored_in
from .augmentation import Augmentation, Crop, to_array, to_tensor
from .fields import number


@dataclass(frozen=True, kw_only=True)
class Rotate(Augmentation):
    """Turns image and labels; corners that show nothing get the mean colour and are ignored."""

    degrees: float = number(10.0, 1, 180, "degrees of arc, not radians or a share of the circle")
    """Largest angle to either side; angles are equally likely."""

    def apply(self, crop: Crop, rng: np.random.Generator) -> Crop:
        return rotate(crop, rng.uniform(-self.degrees, self.degrees))


def rotate(crop: Crop, degrees: float) -> Crop:
    """A crop turned counter-clockwise: the image bilinearly, its labels by nearest neighbour."""
    from torchvision.transforms.v2 import functional

    image = functional.rotate(
        to_tensor(crop.image),
        degrees,
        interpolation=functional.InterpolationMode.BILINEAR,
        fill=[float(x) for x in crop.fill],
    )
    shown = np.ones(crop.label.shape, np.float32) if crop.filled is None else 1 - crop.filled.astype(np.float32)
    maps = torch.from_numpy(np.stack([crop.label.astype(np.float32), shown]))  # ids below 2**24 are exact
    label, shown = functional.rotate(maps, degrees, fill=[float(ignored_in(crop.label)), 0.0]).numpy()
    return Crop(to_array(image), label.astype(crop.label.dtype), crop.fill, filled=shown < 0.5)
