"""Training samples as one picture: what the network sees, and the labels that it learns from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..data.labels import LabelSet, ignored_in
from ..inference.drawing import overlay, shares

EDGE = 640  # pixels of a crop's longer edge, at most: larger ones are drawn smaller
WIDTH = 2000  # pixels of the sheet, about
MARGIN, GAP, TEXT = 16, 2, 15
STRIPE = 6  # pixels of the hatching's stripes, which mark ignored pixels


@dataclass(frozen=True)
class Sample:
    """A sample as training sees it.

    Args:
        caption: below its picture.
        image: (height, width, 3) uint8 RGB.
        label: (height, width) train ids, uint8 or uint16; the highest value is ignored.
    """

    caption: str
    image: np.ndarray
    label: np.ndarray


def sample_sheet(samples: Sequence[Sample], labels: LabelSet, lines: Sequence[str]) -> Image.Image:
    """Draw samples of one size: the image, and beside it the classes over it, with ignored pixels hatched.

    Args:
        samples: at least one.
        labels: the classes, with their colours.
        lines: text above the samples.
    """
    font = ImageFont.load_default(TEXT)
    row = round(1.5 * TEXT)
    height, width = _drawn_size(*samples[0].label.shape)
    beside = width <= height * 3 / 2  # wide crops have their labels below them
    across, down = (2 * width + GAP, height) if beside else (width, 2 * height + GAP)
    columns = max(1, min(len(samples), (WIDTH - MARGIN) // (across + MARGIN)))
    rows = -(-len(samples) // columns)
    wide = max(columns * (across + MARGIN) + MARGIN, 700)
    legend = _legend(samples, labels, font)
    lines = [*_wrapped(lines, font, wide - 2 * MARGIN), ""]
    column = 2 * MARGIN + TEXT + max((int(font.getlength(text)) for _, text in legend), default=0)
    per_line = max(1, (wide - MARGIN) // column)
    head = MARGIN + row * (len(lines) + -(-len(legend) // per_line) + 1)
    page = Image.new("RGB", (wide, head + rows * (down + row + MARGIN)), "white")
    draw = ImageDraw.Draw(page)
    for i, line in enumerate(lines):
        draw.text((MARGIN, MARGIN + i * row), line, fill="black", font=font)
    for i, (pattern, text) in enumerate(legend):
        x, y = MARGIN + column * (i % per_line), MARGIN + row * (len(lines) + i // per_line)
        page.paste(Image.fromarray(pattern), (x, y))
        draw.rectangle((x, y, x + TEXT, y + TEXT), outline="black")
        draw.text((x + TEXT + 8, y + TEXT / 2), text, fill="black", font=font, anchor="lm")
    for i, sample in enumerate(samples):
        x, y = MARGIN + (i % columns) * (across + MARGIN), head + (i // columns) * (down + row + MARGIN)
        image, drawn = _drawn(sample, (height, width), labels.palette)
        page.paste(Image.fromarray(image), (x, y))
        page.paste(Image.fromarray(drawn), (x + width + GAP, y) if beside else (x, y + height + GAP))
        draw.text((x, y + down + 2), _shortened(sample.caption, font, across), fill="black", font=font)
    return page


def hatch(picture: np.ndarray, where: np.ndarray) -> np.ndarray:
    """An RGB picture with black and white stripes at the pixels of a mask."""
    rows, columns = np.ogrid[: where.shape[0], : where.shape[1]]
    stripe = ((rows + columns) // STRIPE % 2 * 255).astype(np.uint8)
    return np.where(where[..., None], stripe[..., None], picture)


def _drawn_size(height: int, width: int) -> tuple[int, int]:
    """(height, width) at which a crop is drawn: its own size, or a whole fraction of it."""
    step = -(-max(height, width) // EDGE)
    return max(1, height // step), max(1, width // step)


def _drawn(sample: Sample, size: tuple[int, int], palette: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A sample's image, and its classes over it, both of `size`."""
    image, label = sample.image, sample.label
    if size != label.shape:
        image = cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)
        label = cv2.resize(label, size[::-1], interpolation=cv2.INTER_NEAREST)
    return image, hatch(overlay(image, label, palette), label == ignored_in(label))


def _legend(samples: Sequence[Sample], labels: LabelSet, font) -> list[tuple[np.ndarray, str]]:
    """A small picture and a text for each class in the samples, and for ignored pixels."""
    label = np.concatenate([x.label.ravel() for x in samples])[None]
    found = shares(label, len(labels.names))
    patterns = [(np.full((TEXT, TEXT, 3), labels.palette[k]), f"{labels.names[k]} {share:.1%}") for k, share in found]
    ignored = float((label == ignored_in(label)).mean())
    square = hatch(np.zeros((TEXT, TEXT, 3), np.uint8), np.ones((TEXT, TEXT), bool))
    return [*patterns, (square, f"ignored {ignored:.1%}")] if ignored else patterns


def _wrapped(lines: Sequence[str], font, width: int) -> list[str]:
    """Lines of text, broken between words where they are wider than `width` pixels."""
    found: list[str] = []
    for line in lines:
        full = ""
        for word in line.split():
            longer = f"{full} {word}".lstrip()
            if full and font.getlength(longer) > width:
                found.append(full)
                longer = word
            full = longer
        found.append(full)
    return found


def _shortened(text: str, font, width: int) -> str:
    """A text without its beginning, if all of it is wider than `width` pixels: names differ at their ends."""
    if font.getlength(text) <= width:
        return text
    start = next((i for i in range(1, len(text)) if font.getlength(f"…{text[i:]}") <= width), len(text) - 1)
    return f"…{text[start:]}"
