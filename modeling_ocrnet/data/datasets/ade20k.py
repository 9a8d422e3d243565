"""ADE20K (SceneParse150): `ADEChallengeData2016/{images,annotations}/{training,validation}`."""

from __future__ import annotations

from pathlib import Path

from ..label_sets import ADE20K as LABELS
from ..pairs import Pairs, check_split, find_folder, in_folders

__all__ = ["DEFAULT_ROOT", "LABELS", "SPLITS", "find"]

DEFAULT_ROOT = "data/ADEChallengeData2016"
SPLITS = ("train", "val")


def find(root: Path, split: str) -> Pairs:
    """All images of a split; 0 in the masks is ignored."""
    check_split(split, SPLITS)
    folder = {"train": "training", "val": "validation"}[split]
    images = find_folder(root, f"images/{folder}")
    return in_folders(images, images.parents[1] / "annotations" / folder)
