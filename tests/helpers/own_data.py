"""Small datasets of one's own, written by tests."""

import json

import numpy as np
from PIL import Image

from modeling_ocrnet import data
from modeling_ocrnet.data import DataSource

SIZE = (8, 12)  # height, width
NAMES = ["road", "tree", "car"]
COLORS = [(128, 64, 128), (0, 90, 0), (0, 0, 142)]
# what is drawn, as class indices, 255 where nothing was labelled
DRAWN = np.full(SIZE, 1, np.uint8)
DRAWN[:2], DRAWN[5:, :4], DRAWN[0, 0] = 0, 2, 255
# the same in the classes' colours
RGB = np.array([*COLORS, (9, 9, 9)], np.uint8)[np.where(DRAWN == 255, 3, DRAWN)]


def write(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(path, **options)


def photo(path, size=SIZE):
    write(path, np.full((*size, 3), 77, np.uint8))


def pair(root, image="images/train/a.jpg", mask="masks/train/a.png", pixels=DRAWN):
    photo(root / image)
    write(root / mask, pixels)


def classes(root, content=NAMES):
    (root / "classes.json").write_text(json.dumps(content))


def labels_of(source, split="train"):
    rows = data.load(source, split=split)
    data.check(rows)
    return [np.asarray(x["label"]) for x in rows]


def source(root, **fields):
    return DataSource("folder", str(root), **fields)
