"""COCO-Stuff 164k: `{train,val}2017/*.jpg` and `stuffthingmaps/{train,val}2017/*.png`, perhaps below `images` and
`annotations`."""

from __future__ import annotations

from pathlib import Path

from ..label_sets import COCO_STUFF_164K as LABELS
from ..pairs import Pairs, check_split, find_folder, in_folders

__all__ = ["DEFAULT_ROOT", "LABELS", "SPLITS", "find"]

DEFAULT_ROOT = "data/coco_stuff164k"
SPLITS = ("train", "val")


def find(root: Path, split: str) -> Pairs:
    """All images of a split."""
    check_split(split, SPLITS)
    folder = f"{split}2017"
    images = find_folder(root, folder, f"images/{folder}")
    return in_folders(images, find_folder(root, f"stuffthingmaps/{folder}", f"annotations/{folder}"))
