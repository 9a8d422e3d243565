"""Small pictures of a split: each image beside itself with its classes' colours laid over it."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..data.labels import LabelSet
from ..inference.drawing import overlay, shares, side_by_side
from .statistics import Split

EDGE = 240  # pixels of the longer edge: some 20 kB a picture


@dataclass
class Picture:
    """A picture as a data URI, its name, and the names of the largest classes in it."""

    split: str
    name: str
    uri: str
    size: tuple[int, int]
    classes: list[str]


def contact_sheet(split: Split, labels: LabelSet, pictures: int) -> list[Picture]:
    """Some pairs of a split, spread evenly over those that have no problem."""
    count = min(pictures, len(split.sound))
    return [_picture(split, split.sound[i * len(split.sound) // count], labels) for i in range(count)]


def _picture(split: Split, row: int, labels: LabelSet) -> Picture:
    pair = split.rows[row]
    image = pair["image"]
    image.thumbnail((EDGE, EDGE))
    picture, classes = image, []
    if pair["label"] is not None:
        label = np.asarray(pair["label"].resize(image.size, Image.Resampling.NEAREST))
        picture = side_by_side(np.asarray(image), overlay(np.asarray(image), label, labels.palette), gap=2)
        classes = [labels.names[k] for k, _ in shares(label, len(labels.names))[:4]]
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=80)
    uri = f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return Picture(split.name, pair["name"], uri, picture.size, classes)
