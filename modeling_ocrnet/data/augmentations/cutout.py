"""Rectangles that show nothing (DeVries and Taylor, arXiv 1708.04552)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from ..labels import ignored_in
from .augmentation import Augmentation, Crop
from .fields import choice, number, whole


@dataclass(frozen=True, kw_only=True)
class Cutout(Augmentation):
    """Fills rectangles with the mean colour.

    Their pixels are ignored by default: what an opaque rectangle hides can't be seen, and a class that lies wholly
    behind it can't even be guessed.
    """

    holes: int = whole(1, 1, 64, "rectangles in a crop")
    """Number of rectangles; they may overlap."""
    size: float = number(0.3, 0.01, 0.75, "a share of the crop's height and width, not pixels")
    """Longest edges of a rectangle, as a share of the crop's; shorter ones are equally likely, each edge by itself."""
    labels: Literal["ignore", "keep"] = choice("ignore", "keep")
    """What becomes of the labels in a rectangle. With keep, the network is to guess what was there."""

    def apply(self, crop: Crop, rng: np.random.Generator) -> Crop:
        for _ in range(self.holes):
            edges = crop.label.shape
            height, width = (max(1, round(rng.uniform(0, self.size) * edge)) for edge in edges)
            top, left = (int(rng.integers(0, edges[i] - edge + 1)) for i, edge in enumerate((height, width)))
            crop = cut_out(crop, (top, left, height, width), self.labels == "keep")
        return crop


def cut_out(crop: Crop, box: tuple[int, int, int, int], keep_labels: bool) -> Crop:
    """A crop with one rectangle (top, left, height, width) filled."""
    from torchvision.transforms.v2 import functional

    top, left, height, width = box
    rows, columns = slice(top, top + height), slice(left, left + width)
    color = torch.tensor(crop.fill, dtype=torch.uint8)[:, None, None]
    image = torch.from_numpy(crop.image.copy())
    functional.erase(image.permute(2, 0, 1), top, left, height, width, color, inplace=True)  # writes to `image`
    label, filled = crop.label, np.zeros(crop.label.shape, bool) if crop.filled is None else crop.filled.copy()
    filled[rows, columns] = True
    if not keep_labels:
        label = label.copy()
        label[rows, columns] = ignored_in(label)
    return Crop(image.numpy(), label, crop.fill, filled)
