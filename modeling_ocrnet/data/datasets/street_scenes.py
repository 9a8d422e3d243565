"""Street scenes drawn by the project's own code, in Cityscapes' tree: data for a first run and for tests."""

from __future__ import annotations

import logging
from pathlib import Path

from street_scenes import write_street_scenes

from ...common.errors import writing
from ..pairs import Pairs
from .base import CardFacts, PublishedDataset
from .cityscapes import DATASET as CITYSCAPES

logger = logging.getLogger(__name__)


def find_pairs(root: Path, split: str) -> Pairs:
    """The scenes of a split. If `root` doesn't exist, they are drawn first."""
    if not root.exists():
        logger.info("drawing street scenes into %s, once", root)
        with writing(root):
            write_street_scenes(root)
    return CITYSCAPES.find(root, split)


DATASET = PublishedDataset(
    title="street scenes",
    labels=CITYSCAPES.labels,
    default_root="data/street_scenes",
    images={"train": 240, "val": 40},
    find_pairs=find_pairs,
    downloads=("nothing: this project draws them at first use, if the root doesn't exist",),
    size="0.1 GB",
    licence="apache-2.0",
    tree=tuple(x for x in CITYSCAPES.tree if set(x.splits) <= {"train", "val"}),
    card=CardFacts(
        text="street scenes drawn by the project's own code, with Cityscapes' 19 classes. They aren't photographs, and "
        "scores on them say nothing about photographs.",
        terms="So are the weights, because the drawn data has no other terms.",
        licence="apache-2.0",
        redistributable=True,
        free_to_show=True,
    ),
)
