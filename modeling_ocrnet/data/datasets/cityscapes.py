"""Cityscapes: frames of 2048x1024 from 50 cities, 19 classes.

`leftImg8bit/{split}/{city}/*_leftImg8bit.png` and `gtFine/{split}/{city}/*_gtFine_labelIds.png`. The coarse annotations
(`gtCoarse/{train,val,train_extra}/{city}/*_gtCoarse_labelIds.png`) are separate splits.
"""

from __future__ import annotations

from pathlib import Path

from ..decoding import DataError
from ..image_files import is_hidden
from ..labels import IGNORE, LabelSet
from ..pairs import Pairs
from ..unicode_names import nfc, path_on_disk, two_spellings
from .base import CardFacts, PublishedDataset, TreeEntry

# split: its folder, and the kind of its annotations
SPLITS = {
    "train": ("train", "gtFine"),
    "val": ("val", "gtFine"),
    "test": ("test", None),
    "train_coarse": ("train", "gtCoarse"),
    "val_coarse": ("val", "gtCoarse"),
    "train_extra": ("train_extra", "gtCoarse"),
}
SUFFIX = "_leftImg8bit.png"
# This frame of train_extra was published black, with an empty annotation. Without it, 19997 are left.
BLACK = "troisdorf_000000_000073"
TERMS = "https://www.cityscapes-dataset.com/license/"


def find_pairs(root: Path, split: str) -> Pairs:
    """All frames of a split, sorted by name. `test` has no public labels: its masks are `None`.

    `train_coarse`, `val_coarse` and `train_extra` have the coarse annotations; `train_extra` leaves out the frame that
    was published black. Masks are `labelIds` files, or `labelTrainIds` files if the split has only those.
    """
    subfolder, kind = SPLITS[split]
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

    listed: dict[Path, dict[str, str | None]] = {}

    def masks(content: str) -> list[Path]:
        paths = (labels / x.parent.name / f"{name}_{kind}_{content}.png" for x, name in zip(images, names, strict=True))
        return [path_on_disk(x, listed) for x in paths]

    instances = [x if x.is_file() else None for x in masks("instanceIds")]
    by_id = masks("labelIds")
    if not any(mask.is_file() for mask in by_id):
        by_train_id = masks("labelTrainIds")
        if any(mask.is_file() for mask in by_train_id):
            return Pairs(names, images, by_train_id, train_ids=True, instances=instances)
    strays = sorted(set(_in_cities(labels, f"_{kind}_labelIds.png")).difference(by_id))
    return Pairs(names, images, by_id, instances=instances, strays=[x for x in strays if BLACK not in x.name])


def _in_cities(folder: Path, ending: str) -> list[Path]:
    """The files of all cities, sorted by their names in NFC."""
    found: dict[tuple[str, str], Path] = {}
    for file in folder.glob(f"*/*{ending}"):
        if not is_hidden(file.name) and not is_hidden(file.parent.name):
            other = found.setdefault((nfc(file.parent.name), nfc(file.name)), file)
            if other != file:
                raise two_spellings(folder, *(f"{x.parent.name}/{x.name}" for x in (other, file)))
    return [found[key] for key in sorted(found)]


def _advice(root: Path) -> str:
    """The likely mistake in the root, and the remedy."""
    if root.name in ("leftImg8bit", "gtFine") or root.parent.name in ("leftImg8bit", "gtFine"):
        return "the root is one folder too deep: give the folder that holds leftImg8bit and gtFine"
    below = next((x.parent for x in root.glob("*/leftImg8bit") if x.is_dir() and not is_hidden(x.parent.name)), None)
    if below is not None:
        return f"the root is one folder too high: give {below}"
    return "give the folder that holds leftImg8bit and gtFine (docs/datasets.md)"


DATASET = PublishedDataset(
    title="Cityscapes",
    labels=LabelSet.from_rows(
        ("unlabeled", 0, IGNORE, (0, 0, 0), "void"),
        ("ego vehicle", 1, IGNORE, (0, 0, 0), "void"),
        ("rectification border", 2, IGNORE, (0, 0, 0), "void"),
        ("out of roi", 3, IGNORE, (0, 0, 0), "void"),
        ("static", 4, IGNORE, (0, 0, 0), "void"),
        ("dynamic", 5, IGNORE, (111, 74, 0), "void"),
        ("ground", 6, IGNORE, (81, 0, 81), "void"),
        ("road", 7, 0, (128, 64, 128), "flat"),
        ("sidewalk", 8, 1, (244, 35, 232), "flat"),
        ("parking", 9, IGNORE, (250, 170, 160), "flat"),
        ("rail track", 10, IGNORE, (230, 150, 140), "flat"),
        ("building", 11, 2, (70, 70, 70), "construction"),
        ("wall", 12, 3, (102, 102, 156), "construction"),
        ("fence", 13, 4, (190, 153, 153), "construction"),
        ("guard rail", 14, IGNORE, (180, 165, 180), "construction"),
        ("bridge", 15, IGNORE, (150, 100, 100), "construction"),
        ("tunnel", 16, IGNORE, (150, 120, 90), "construction"),
        ("pole", 17, 5, (153, 153, 153), "object"),
        ("polegroup", 18, IGNORE, (153, 153, 153), "object"),
        ("traffic light", 19, 6, (250, 170, 30), "object"),
        ("traffic sign", 20, 7, (220, 220, 0), "object"),
        ("vegetation", 21, 8, (107, 142, 35), "nature"),
        ("terrain", 22, 9, (152, 251, 152), "nature"),
        ("sky", 23, 10, (70, 130, 180), "sky"),
        ("person", 24, 11, (220, 20, 60), "human", True),
        ("rider", 25, 12, (255, 0, 0), "human", True),
        ("car", 26, 13, (0, 0, 142), "vehicle", True),
        ("truck", 27, 14, (0, 0, 70), "vehicle", True),
        ("bus", 28, 15, (0, 60, 100), "vehicle", True),
        ("caravan", 29, IGNORE, (0, 0, 90), "vehicle", True),
        ("trailer", 30, IGNORE, (0, 0, 110), "vehicle", True),
        ("train", 31, 16, (0, 80, 100), "vehicle", True),
        ("motorcycle", 32, 17, (0, 0, 230), "vehicle", True),
        ("bicycle", 33, 18, (119, 11, 32), "vehicle", True),
        ("license plate", -1, IGNORE, (0, 0, 142), "vehicle"),
    ),
    default_root="data/cityscapes",
    images={"train": 2975, "val": 500, "test": 1525, "train_coarse": 2975, "val_coarse": 500, "train_extra": 19997},
    find_pairs=find_pairs,
    downloads=(
        "register at https://www.cityscapes-dataset.com; download by hand or with csDownload of cityscapesscripts:",
        "leftImg8bit_trainvaltest.zip (11 GB) and gtFine_trainvaltest.zip (241 MB), both into one folder",
        "for the coarse annotations: gtCoarse.zip (1.3 GB), for train_extra leftImg8bit_trainextra.zip (44 GB)",
    ),
    size="11 GB",
    licence=f"non-commercial use only: {TERMS}",
    tree=(
        *(
            TreeEntry((f"{folder}/{split}",), f"{split}/<city>/<city>_<sequence>_<frame>_{files}", (split,))
            for folder, files, splits in (
                ("leftImg8bit", "leftImg8bit.png", ("train", "val", "test")),
                ("gtFine", "gtFine_labelIds.png (or labelTrainIds)", ("train", "val")),
            )
            for split in splits
        ),
        *(
            TreeEntry((path,), f"{path.partition('/')[2]}/<city>/..._{files}, optional", (split,))
            for path, files, split in (
                ("gtCoarse/train", "gtCoarse_labelIds.png", "train_coarse"),
                ("gtCoarse/val", "gtCoarse_labelIds.png", "val_coarse"),
                ("leftImg8bit/train_extra", "leftImg8bit.png", "train_extra"),
                ("gtCoarse/train_extra", "gtCoarse_labelIds.png", "train_extra"),
            )
        ),
    ),
    optional=("train_coarse", "val_coarse", "train_extra"),
    card=CardFacts(
        text="[Cityscapes](https://www.cityscapes-dataset.com), the fine annotations.",
        terms=f"The weights were trained on Cityscapes, whose [terms]({TERMS}) allow only non-commercial use.",
        licence="other",
        licence_name="cityscapes",
        licence_link=TERMS,
    ),
)
