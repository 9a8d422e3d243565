"""Label maps as pictures."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..data.labels import distinct_color, ignored_in, label_dtype

STRIP = 2**20  # pixels


def class_palette(colors: list[list[int]] | None, classes: int) -> np.ndarray:
    """RGB colours by class: the given ones, or PASCAL VOC's colour map, which has a distinct colour for each class.

    Returns:
        (256, 3) uint8, or (65536, 3) for more than 255 classes: one colour for each value of a label map.
    """
    palette = np.zeros((np.iinfo(label_dtype(classes)).max + 1, 3), np.uint8)
    if colors is not None:
        palette[: len(colors)] = colors
        return palette
    palette[:classes] = [distinct_color(index + 1) for index in range(classes)]  # index 0 is black
    return palette


def colorize(label_map: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """(height, width) ids to (height, width, 3) uint8 RGB; `palette` has one row per id."""
    return palette[label_map]


def overlay(image: np.ndarray, label_map: np.ndarray, palette: np.ndarray, opacity: float = 0.6) -> np.ndarray:
    """Blend the classes' colours over an RGB image of the same size. Ignored pixels (255, 65535) show the image."""
    blended = np.empty(image.shape, np.uint8)
    for rows in _strips(label_map):  # floats of the whole picture would be many times its size
        mixed = (1 - opacity) * image[rows] + opacity * colorize(label_map[rows], palette)
        ignored = (label_map[rows] == ignored_in(label_map))[..., None]
        blended[rows] = np.where(ignored, image[rows], mixed.round())
    return blended


def _strips(label_map: np.ndarray) -> Iterator[slice]:
    """Rows of a label map, about `STRIP` pixels at a time."""
    height, width = label_map.shape
    step = max(1, STRIP // max(1, width))
    return (slice(start, start + step) for start in range(0, height, step))


def side_by_side(*panels: np.ndarray, gap: int = 4) -> Image.Image:
    """Put RGB pictures with the same height next to each other, separated by a white gap."""
    bar = np.full((panels[0].shape[0], gap, 3), 255, np.uint8)
    row = [panels[0]]
    for panel in panels[1:]:
        row += [bar, panel]
    return Image.fromarray(np.concatenate(row, axis=1))


def shares(label_map: np.ndarray, classes: int) -> list[tuple[int, float]]:
    """The classes in a label map and their shares of its pixels, the largest first."""
    strips = [np.bincount(label_map[rows].ravel(), minlength=classes)[:classes] for rows in _strips(label_map)]
    counts = np.sum(strips, axis=0)
    order = np.argsort(-counts, kind="stable")
    return [(int(i), counts[i] / label_map.size) for i in order if counts[i]]


def with_legend(picture: np.ndarray, label_map: np.ndarray, names: list[str], palette: np.ndarray) -> Image.Image:
    """An RGB picture with a legend below it: the classes in the label map, their colours and their shares."""
    height, width = picture.shape[:2]
    size = min(max(11, height // 45), 40)
    font = ImageFont.load_default(size)
    entries = [(index, f"{names[index]} {share:.1%}") for index, share in shares(label_map, len(names))]
    column = 2 * size + max((int(font.getlength(text)) for _, text in entries), default=0)
    columns = max(1, width // column)
    line = round(1.5 * size)
    page = Image.new("RGB", (max(width, column), height + line * -(-len(entries) // columns) + size // 2), "white")
    page.paste(Image.fromarray(picture))
    draw = ImageDraw.Draw(page)
    for i, (index, text) in enumerate(entries):
        x, y = column * (i % columns) + size // 3, height + line * (i // columns) + size // 2
        draw.rectangle((x, y, x + size - 1, y + size - 1), fill=tuple(palette[index].tolist()), outline="black")
        draw.text((x + round(1.3 * size), y + size / 2), text, fill="black", font=font, anchor="lm")
    return page
