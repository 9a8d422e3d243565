"""LIP (Look into Person), the part with one person in each image: 20 classes of body parts and clothes."""

from __future__ import annotations

from pathlib import Path

from ..labels import LabelSet
from ..pairs import Pairs, find_folder, pairs_in_folders
from .base import PublishedDataset, folders_of_pairs


def folders(archive: str, folder: str) -> tuple[str, ...]:
    """Where a folder of an archive may be: as distributed, merged with the others, or unpacked into its own folder."""
    return f"{archive}/{folder}", folder, f"{archive}/{archive}/{folder}"


IMAGES, MASKS = (
    {split: folders(archive, f"{split}_{kind}") for split in ("train", "val")}
    for archive, kind in (("TrainVal_images", "images"), ("TrainVal_parsing_annotations", "segmentations"))
)


def find_pairs(root: Path, split: str) -> Pairs:
    """All images of a split, sorted by name."""
    return pairs_in_folders(find_folder(root, *IMAGES[split]), find_folder(root, *MASKS[split]))


DATASET = PublishedDataset(
    title="LIP (Look into Person), single person",
    # the background is a class; a flip swaps left and right arms, legs and shoes
    labels=LabelSet.from_names(
        """Background, Hat, Hair, Glove, Sunglasses, UpperClothes, Dress, Coat, Socks, Pants, Jumpsuits, Scarf, Skirt,
        Face, Left-arm, Right-arm, Left-leg, Right-leg, Left-shoe, Right-shoe""",
        ids=range(20),
        ignored={"unknown": 255},
        flip_pairs=((14, 15), (16, 17), (18, 19)),
    ),
    default_root="data/LIP",
    images={"train": 30462, "val": 10000},
    find_pairs=find_pairs,
    downloads=("from its authors' page, https://sysu-hcp.net/lip: TrainVal_images, TrainVal_parsing_annotations",),
    size="not stated",
    licence="see its authors' page",
    tree=folders_of_pairs(IMAGES, MASKS),
)
