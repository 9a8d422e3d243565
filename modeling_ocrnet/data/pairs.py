"""Pairs of an image and its mask, and functions that find them in two folders or by a list."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..common.errors import UserError
from .errors import DataError
from .image_files import folder_names, is_hidden
from .text_files import read_text
from .unicode_names import nfc, paths_on_disk, two_spellings


@dataclass(frozen=True)
class Pairs:
    """The pairs of a split: item i of each list belongs to pair i. A mask is `None` if the split has no labels.

    Names are in NFC on every system; paths are spelled as on the disk. If `train_ids` is true, the masks hold train ids
    already, not the dataset's ids. `instances` are the files that tell instances apart, if the dataset has them.
    `strays` are masks without an image, for datasets with one folder per split.
    """

    names: list[str]
    images: Sequence[Path | str]
    masks: Sequence[Path | str | None]
    train_ids: bool = False
    instances: Sequence[Path | str | None] | None = None
    strays: Sequence[Path | str] = ()


def check_split(split: str, splits: tuple[str, ...]) -> None:
    if split not in splits:
        raise UserError(f"split {split!r} is unknown; expected one of {', '.join(splits)}")


def find_folder(root: Path, *candidates: str) -> Path:
    """The first of the candidates that is a folder below the root.

    Raises:
        DataError: if there is none; names the candidates, and the folder above or below the root that has one.
    """
    for candidate in candidates:
        if (root / candidate).is_dir():
            return root / candidate
    expected = " or ".join(candidates)
    for other in (root.parent, *(root / x for x in sorted(folder_names(root) if root.is_dir() else ()))):
        if any((other / candidate).is_dir() for candidate in candidates):
            raise DataError(f"{root}: holds no {expected}, but {other} does: give that folder as the root")
    raise DataError(f"{root}: holds no folder {expected}; `ocrnet data layout` shows the trees expected")


def pairs_in_folders(images: Path, masks: Path, suffix: str = ".jpg", mask_suffix: str = ".png") -> Pairs:
    """All images in a folder, sorted, with the masks of the same names in another folder."""
    found, partners = _by_name(images, suffix), _by_name(masks, mask_suffix) if masks.is_dir() else {}
    names = sorted(found)
    if not names:
        raise DataError(f"{images}: holds no *{suffix}: unpack the images there")
    return Pairs(
        names,
        [f"{images}/{found[x]}" for x in names],
        [f"{masks}/{partners.get(x, x + mask_suffix)}" for x in names],
        strays=[f"{masks}/{partners[x]}" for x in sorted(partners.keys() - found.keys())],
    )


def _by_name(folder: Path, suffix: str) -> dict[str, str]:
    """A folder's files by name without suffix."""
    # strings, not Paths, and no system call for each, because there may be 100000 files
    files = [x for x in os.listdir(folder) if x.endswith(suffix) and not is_hidden(x)]
    found = {nfc(x.removesuffix(suffix)): x for x in files}
    if len(found) < len(files):
        other = next(x for x in files if found[nfc(x.removesuffix(suffix))] != x)
        raise two_spellings(folder, other, found[nfc(other.removesuffix(suffix))])
    return found


def pairs_in_list(file: Path, images: Path, masks: Path, suffix: str = ".jpg", mask_suffix: str = ".png") -> Pairs:
    """The images listed in a text file with one name per line."""
    names = read_list(file)
    return Pairs(names, paths_on_disk(images, names, suffix), paths_on_disk(masks, names, mask_suffix))


def read_list(file: Path) -> list[str]:
    """The first word of every non-empty line, in NFC."""
    if not file.is_file():
        raise DataError(f"{file}: there is no such file; it lists the images of the split")
    names = [nfc(line.split()[0]) for line in read_text(file).text.splitlines() if line.strip()]
    if not names:
        raise DataError(f"{file}: lists no image")
    return names
