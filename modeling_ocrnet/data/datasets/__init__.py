"""The published datasets, one file each. To add one, write its file (docs/add_a_dataset.md) and name it here."""

from __future__ import annotations

from importlib import import_module

from ...common.errors import UserError
from .base import CardFacts, PublishedDataset, TreeEntry

__all__ = ["DATASETS", "CardFacts", "PublishedDataset", "TreeEntry", "published"]

# A dataset's name is that of its file. A file is imported when its dataset is used.
DATASETS = (
    "ade20k",
    "camvid",
    "cityscapes",
    "coco_stuff_10k",
    "coco_stuff_164k",
    "lip",
    "pascal_context_59",
    "pascal_context_60",
    "pascal_voc",
    "street_scenes",
)


def published(name: str) -> PublishedDataset:
    """The description of a published dataset.

    Raises:
        UserError: if `name` isn't one of `DATASETS`.
    """
    if name not in DATASETS:
        raise UserError(f"dataset {name!r} is unknown; expected one of {', '.join(DATASETS)}")
    return import_module(f".{name}", __name__).DATASET
