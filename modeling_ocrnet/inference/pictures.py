"""Label maps as pictures."""

from __future__ import annotations

import numpy as np
from PIL import Image


def colorize(label_map: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """(height, width) ids to (height, width, 3) uint8 RGB; `palette` is (256, 3) uint8."""
    return palette[label_map]


def overlay(image: np.ndarray, label_map: np.ndarray, palette: np.ndarray, opacity: float = 0.6) -> np.ndarray:
    """The classes' colours laid over an RGB image of the same size; ignored pixels (255) show the image."""
    mixed = (1 - opacity) * image + opacity * colorize(label_map, palette)
    return np.where((label_map == 255)[..., None], image, mixed.round()).astype(np.uint8)


def side_by_side(*panels: np.ndarray, gap: int = 4) -> Image.Image:
    """RGB pictures of one height next to each other, with a white gap."""
    bar = np.full((panels[0].shape[0], gap, 3), 255, np.uint8)
    row = [panels[0]]
    for panel in panels[1:]:
        row += [bar, panel]
    return Image.fromarray(np.concatenate(row, axis=1))
