"""Cityscapes: `leftImg8bit/{split}/{city}/*_leftImg8bit.png` and `gtFine/{split}/{city}/*_gtFine_labelIds.png`."""

from __future__ import annotations

from pathlib import Path

from .decoding import DataError
from .label_sets import CITYSCAPES as LABELS
from .pairs import Pairs, check_split

__all__ = ["DEFAULT_ROOT", "LABELS", "SPLITS", "find"]

DEFAULT_ROOT = "data/cityscapes"
SPLITS = ("train", "val", "test")
SUFFIX = "_leftImg8bit.png"


def find(root: Path, split: str) -> Pairs:
    """All frames of a split, sorted by name. `test` has no public labels: its masks are `None`.

    Masks are `labelIds` files, or `labelTrainIds` where the split has only those.
    """
    check_split(split, SPLITS)
    folder = root / "leftImg8bit" / split
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; {_advice(root)}")
    images = sorted(folder.glob(f"*/*{SUFFIX}"))
    if not images:
        raise DataError(
            f"{folder}: holds no */*{SUFFIX}; expected city folders, such as {split}/frankfurt, with frames"
        )
    names = [image.name.removesuffix(SUFFIX) for image in images]
    if split == "test":
        return Pairs(names, images, [None] * len(images))

    def masks(kind: str) -> list[Path]:
        labels = root / "gtFine" / split
        return [labels / x.parent.name / f"{name}_gtFine_{kind}.png" for x, name in zip(images, names, strict=True)]

    instances = [x if x.is_file() else None for x in masks("instanceIds")]
    by_id = masks("labelIds")
    if not any(mask.is_file() for mask in by_id):
        by_train_id = masks("labelTrainIds")
        if any(mask.is_file() for mask in by_train_id):
            return Pairs(names, images, by_train_id, train_ids=True, instances=instances)
    return Pairs(names, images, by_id, instances=instances)


def _advice(root: Path) -> str:
    """What is probably wrong with the root."""
    if root.name in ("leftImg8bit", "gtFine") or root.parent.name in ("leftImg8bit", "gtFine"):
        return "the root is one folder too deep: give the folder that holds leftImg8bit and gtFine"
    below = next((x.parent for x in root.glob("*/leftImg8bit") if x.is_dir()), None)
    if below is not None:
        return f"the root is one folder too high: give {below}"
    return "give the folder that holds leftImg8bit and gtFine (README: Getting Cityscapes)"
