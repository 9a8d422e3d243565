"""Cityscapes: `leftImg8bit/{split}/{city}/*_leftImg8bit.png` and `gtFine/{split}/{city}/*_gtFine_labelIds.png`.

The coarse annotations (`gtCoarse/{train,val,train_extra}/{city}/*_gtCoarse_labelIds.png`) are splits of their own.
"""

from __future__ import annotations

from pathlib import Path

from ..decoding import DataError
from ..image_files import is_hidden
from ..label_sets import CITYSCAPES as LABELS
from ..pairs import Pairs, check_split
from ..spelling import nfc, stored, two_spellings

__all__ = ["DEFAULT_ROOT", "LABELS", "SPLITS", "find"]

DEFAULT_ROOT = "data/cityscapes"
# split: its folder, and the kind of its annotations
_SPLITS = {
    "train": ("train", "gtFine"),
    "val": ("val", "gtFine"),
    "test": ("test", None),
    "train_coarse": ("train", "gtCoarse"),
    "val_coarse": ("val", "gtCoarse"),
    "train_extra": ("train_extra", "gtCoarse"),
}
SPLITS = tuple(_SPLITS)
SUFFIX = "_leftImg8bit.png"
# The one frame of train_extra that was published black, with an empty annotation: 19997 are left.
BLACK = "troisdorf_000000_000073"


def find(root: Path, split: str) -> Pairs:
    """All frames of a split, sorted by name. `test` has no public labels: its masks are `None`.

    `train_coarse`, `val_coarse` and `train_extra` have the coarse annotations; `train_extra` comes without the frame
    that was published black. Masks are `labelIds` files, or `labelTrainIds` where the split has only those.
    """
    check_split(split, SPLITS)
    subfolder, kind = _SPLITS[split]
    folder = root / "leftImg8bit" / subfolder
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; {_advice(root)}")
    images = [x for x in _in_cities(folder, SUFFIX) if x.name != BLACK + SUFFIX]
    if not images:
        raise DataError(
            f"{folder}: holds no */*{SUFFIX}; expected city folders, such as {subfolder}/frankfurt, with frames"
        )
    names = [nfc(image.name.removesuffix(SUFFIX)) for image in images]
    if kind is None:
        return Pairs(names, images, [None] * len(images))
    labels = root / kind / subfolder
    if kind == "gtCoarse" and not labels.is_dir():
        raise DataError(f"{labels}: no such folder; the split {split} needs gtCoarse.zip, unpacked beside leftImg8bit")

    def masks(content: str) -> list[Path]:
        paths = (labels / x.parent.name / f"{name}_{kind}_{content}.png" for x, name in zip(images, names, strict=True))
        return [stored(x, listed) for x in paths]

    listed = {}

    instances = [x if x.is_file() else None for x in masks("instanceIds")]
    by_id = masks("labelIds")
    if not any(mask.is_file() for mask in by_id):
        by_train_id = masks("labelTrainIds")
        if any(mask.is_file() for mask in by_train_id):
            return Pairs(names, images, by_train_id, train_ids=True, instances=instances)
    strays = sorted(set(_in_cities(labels, f"_{kind}_labelIds.png")).difference(by_id))
    return Pairs(names, images, by_id, instances=instances, strays=[x for x in strays if BLACK not in x.name])


def _in_cities(folder: Path, ending: str) -> list[Path]:
    """The files of all cities, sorted by their names as they are compared."""
    found = {}
    for file in folder.glob(f"*/*{ending}"):
        if not is_hidden(file.name) and not is_hidden(file.parent.name):
            other = found.setdefault((nfc(file.parent.name), nfc(file.name)), file)
            if other != file:
                raise two_spellings(folder, *(f"{x.parent.name}/{x.name}" for x in (other, file)))
    return [found[key] for key in sorted(found)]


def _advice(root: Path) -> str:
    """What is probably wrong with the root."""
    if root.name in ("leftImg8bit", "gtFine") or root.parent.name in ("leftImg8bit", "gtFine"):
        return "the root is one folder too deep: give the folder that holds leftImg8bit and gtFine"
    below = next((x.parent for x in root.glob("*/leftImg8bit") if x.is_dir() and not is_hidden(x.parent.name)), None)
    if below is not None:
        return f"the root is one folder too high: give {below}"
    return "give the folder that holds leftImg8bit and gtFine (README: Getting Cityscapes)"
