"""Street scenes that the project draws itself, in Cityscapes' tree: data for a first run and for tests."""

from __future__ import annotations

import logging
from pathlib import Path

from street_scenes import write_street_scenes

from ...errors import writing
from ..label_sets import CITYSCAPES as LABELS
from ..pairs import Pairs, check_split
from . import cityscapes

__all__ = ["DEFAULT_ROOT", "LABELS", "SPLITS", "find"]

logger = logging.getLogger(__name__)

DEFAULT_ROOT = "data/street_scenes"
SPLITS = ("train", "val")


def find(root: Path, split: str) -> Pairs:
    """The scenes of a split; they are drawn and written first where there is nothing at `root`."""
    check_split(split, SPLITS)
    if not root.exists():
        logger.info("drawing street scenes into %s, once", root)
        with writing(root):
            write_street_scenes(root)
    return cityscapes.find(root, split)
