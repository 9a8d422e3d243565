"""How pixels become a network's input: the same in training as the image processor that is saved with the model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np

MEAN = (123.675, 116.28, 103.53)  # ImageNet, RGB, 0..255
STD = (58.395, 57.12, 57.375)
# fields of an image processor that belong to the weights, and not to the images
FIELDS = ("do_rescale", "rescale_factor", "do_normalize", "image_mean", "image_std", "do_flip_channel_order")


@dataclass(frozen=True)
class Normalization:
    """Subtracts a mean from each channel, and divides by a deviation.

    Args:
        mean, std: of the three channels as the network reads them, for values from 0 to 255.
        bgr: whether the network reads blue, green, red.
    """

    mean: tuple[float, float, float] = MEAN
    std: tuple[float, float, float] = STD
    bgr: bool = False

    @classmethod
    def of(cls, processor: Mapping[str, Any]) -> Normalization:
        """What an image processor does to values from 0 to 255.

        Args:
            processor: its values of `FIELDS`.

        Raises:
            ValueError: for values that can't be used; the message begins with the field.
        """
        (scale,) = _numbers(processor, "rescale_factor", 1, positive=True) if processor["do_rescale"] else (1.0,)
        mean, std = (
            (_numbers(processor, "image_mean", 3), _numbers(processor, "image_std", 3, positive=True))
            if processor["do_normalize"]
            else ((0.0,) * 3, (1.0,) * 3)
        )
        # rounded, so that ImageNet's are the numbers above
        mean, std = (tuple(round(x / scale, 9) for x in values) for values in (mean, std))
        return cls(mean, std, bool(processor["do_flip_channel_order"]))  # type: ignore[arg-type]

    @property
    def zero(self) -> tuple[int, int, int]:
        """The RGB colour, of values from 0 to 255, that is nearest to 0 after the normalisation: the mean."""
        red, green, blue = (min(max(round(x), 0), 255) for x in (self.mean[::-1] if self.bgr else self.mean))
        return red, green, blue

    @cached_property
    def _table(self) -> np.ndarray:
        """The result for each of a channel's 256 values, (3, 256)."""
        levels = np.arange(256, dtype=np.float32)
        mean, std = (np.array(x, np.float32) for x in (self.mean, self.std))
        return ((levels[:, None] - mean) / std).T.copy()

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Convert (height, width, 3) uint8 RGB to (3, height, width) float32."""
        pixels = np.empty((3, *image.shape[:2]), np.float32)
        planes = cv2.split(image)
        for channel, plane in enumerate(planes[::-1] if self.bgr else planes):
            cv2.LUT(plane, self._table[channel], dst=pixels[channel])
        return pixels

    def undo(self, pixels: np.ndarray) -> np.ndarray:
        """Convert (3, height, width) float32, as a network reads them, back to (height, width, 3) uint8 RGB."""
        mean, std = (np.array(x, np.float32) for x in (self.mean, self.std))
        values = pixels.transpose(1, 2, 0) * std + mean
        return np.clip(np.rint(values[..., ::-1] if self.bgr else values), 0, 255).astype(np.uint8)


def _numbers(processor: Mapping[str, Any], name: str, count: int, positive: bool = False) -> tuple[float, ...]:
    """A field's numbers, of which a processor may hold one for all channels."""
    value = processor[name]
    found = list(value) if isinstance(value, (list, tuple)) else [value]
    numbers = found * count if len(found) == 1 else found
    valid = all(isinstance(x, (int, float)) and math.isfinite(x) and (x > 0 or not positive) for x in numbers)
    if len(numbers) != count or not valid:
        expected = f"{count} numbers, or one for all" if count > 1 else "a number"
        raise ValueError(f"{name} is {value}, expected {expected}{', above 0' if positive else ''}")
    return tuple(map(float, numbers))
