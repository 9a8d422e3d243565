"""PASCAL-Context, 59 classes: `VOC2010/{JPEGImages,SegmentationClassContext,ImageSets/SegmentationContext}`."""

from __future__ import annotations

from pathlib import Path

from ..label_sets import PASCAL_CONTEXT_59 as LABELS
from ..pairs import Pairs, check_split, find_folder, in_list

__all__ = ["DEFAULT_ROOT", "LABELS", "SPLITS", "find"]

DEFAULT_ROOT = "data/VOCdevkit/VOC2010"
SPLITS = ("train", "val")


def find(root: Path, split: str) -> Pairs:
    """The images that a split's list names; 0 in the masks is the background."""
    check_split(split, SPLITS)
    images = find_folder(root, "JPEGImages", "VOC2010/JPEGImages", "VOCdevkit/VOC2010/JPEGImages")
    voc = images.parent
    lists = find_folder(voc, "ImageSets/SegmentationContext")
    return in_list(lists / f"{split}.txt", images, voc / "SegmentationClassContext")
