"""COCO-Stuff 164k: all of COCO 2017, with the 171 classes of COCO-Stuff 10k, masks as PNG files."""

from __future__ import annotations

from pathlib import Path

from ..labels import LabelSet
from ..pairs import Pairs, find_folder, pairs_in_folders
from .base import PublishedDataset, folders_of_pairs
from .coco_stuff_10k import CLASSES, IDS

IMAGES, MASKS = (
    {split: (f"{first}{split}2017", f"{second}/{split}2017") for split in ("train", "val")}
    for first, second in (("", "images"), ("stuffthingmaps/", "annotations"))
)


def find_pairs(root: Path, split: str) -> Pairs:
    """All images of a split, sorted by name."""
    return pairs_in_folders(find_folder(root, *IMAGES[split]), find_folder(root, *MASKS[split]))


DATASET = PublishedDataset(
    title="COCO-Stuff 164k",
    # ids count from 1 in the .mat files of the 10k release, and from 0 in these PNG files
    labels=LabelSet.from_names(CLASSES, ids=[k - 1 for k in IDS], ignored={"unlabeled": 255}),
    default_root="data/coco_stuff164k",
    images={"train": 118287, "val": 5000},
    find_pairs=find_pairs,
    downloads=(
        "http://images.cocodataset.org/zips/train2017.zip (18 GB)",
        "http://images.cocodataset.org/zips/val2017.zip (1 GB)",
        "http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset/stuffthingmaps_trainval2017.zip (659 MB), "
        "into stuffthingmaps",
    ),
    size="20 GB",
    licence="annotations CC BY 4.0, images under Flickr's terms of use",
    tree=folders_of_pairs(IMAGES, MASKS),
)
