"""PASCAL VOC 2012, alone or with the Semantic Boundaries Dataset (SBD): the splits train, val, trainval and aug.

`VOCdevkit/VOC2012/{JPEGImages,SegmentationClass,ImageSets/Segmentation}`; for `aug` also SBD's `dataset` (its folder
`cls` of .mat files, and its lists train.txt and val.txt) as `sbd` beside them, or where SBD's archive puts it.
"""

from __future__ import annotations

from pathlib import Path

from ..label_sets import PASCAL_VOC as LABELS
from ..pairs import Pairs, check_split, find_folder, in_list, read_list
from ..spelling import stored_in

__all__ = ["DEFAULT_ROOT", "LABELS", "SPLITS", "find"]

DEFAULT_ROOT = "data/VOCdevkit/VOC2012"
SPLITS = ("train", "val", "trainval", "aug")


def find(root: Path, split: str) -> Pairs:
    """The images that a split's list names. `aug`: VOC's train, and SBD's train and val without VOC's val (10582)."""
    check_split(split, SPLITS)
    images = find_folder(root, "JPEGImages", "VOC2012/JPEGImages", "VOCdevkit/VOC2012/JPEGImages")
    voc = images.parent
    lists, masks = voc / "ImageSets" / "Segmentation", voc / "SegmentationClass"
    if split != "aug":
        return in_list(lists / f"{split}.txt", images, masks)
    sbd = find_folder(voc, "sbd", "benchmark_RELEASE/dataset", "../../benchmark_RELEASE/dataset", "../sbd", "../../sbd")
    own, held_out = read_list(lists / "train.txt"), set(read_list(lists / "val.txt"))
    more = set(read_list(sbd / "train.txt")) | set(read_list(sbd / "val.txt"))
    names = own + sorted(more - held_out - set(own))
    return Pairs(
        names,
        stored_in(images, names, ".jpg"),
        # VOC's masks, drawn by its own annotators, go before SBD's of the same images
        stored_in(masks, own, ".png") + stored_in(sbd / "cls", names[len(own) :], ".mat"),
    )
