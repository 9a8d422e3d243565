"""LIP (Look into Person, single person): images and masks by folder, `train_images` beside `train_segmentations`."""

from __future__ import annotations

from pathlib import Path

from ..label_sets import LIP as LABELS
from ..pairs import Pairs, check_split, find_folder, in_folders

__all__ = ["DEFAULT_ROOT", "LABELS", "SPLITS", "find"]

DEFAULT_ROOT = "data/LIP"
SPLITS = ("train", "val")


def find(root: Path, split: str) -> Pairs:
    """All images of a split. Unpacked as distributed (`TrainVal_images`, `TrainVal_parsing_annotations`) or merged."""
    check_split(split, SPLITS)
    images, masks = f"{split}_images", f"{split}_segmentations"
    return in_folders(
        find_folder(root, images, f"TrainVal_images/{images}", f"TrainVal_images/TrainVal_images/{images}"),
        find_folder(
            root,
            masks,
            f"TrainVal_parsing_annotations/{masks}",
            f"TrainVal_parsing_annotations/TrainVal_parsing_annotations/{masks}",
        ),
    )
