"""COCO-Stuff 10k, version 1.1: `images/*.jpg`, `annotations/*.mat`, `imageLists/{train,test}.txt`."""

from __future__ import annotations

from pathlib import Path

from ..label_sets import COCO_STUFF_10K as LABELS
from ..pairs import Pairs, check_split, find_folder, in_list

__all__ = ["DEFAULT_ROOT", "LABELS", "SPLITS", "find"]

DEFAULT_ROOT = "data/coco_stuff10k"
SPLITS = ("train", "val")


def find(root: Path, split: str) -> Pairs:
    """The images that a split's list names; `val` is what the dataset calls test."""
    check_split(split, SPLITS)
    images = find_folder(root, "images")
    base = images.parent
    file = base / "imageLists" / {"train": "train.txt", "val": "test.txt"}[split]
    return in_list(file, images, base / "annotations", mask_suffix=".mat")
