"""Which files of a folder are meant: one rule, whoever reads the folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
RULE = "Of a folder all images by their suffix, links followed, nothing hidden (.*, __MACOSX)."  # for help texts


def is_hidden(name: str) -> bool:
    """What systems and tools leave beside one's files: `._x.jpg`, `.ipynb_checkpoints`, `__MACOSX`."""
    return name.startswith(".") or name == "__MACOSX"


def is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES


def image_names(folder: str | Path) -> Iterator[str]:
    """The names of a folder's images, in no order: not paths, which sort slowly, for there may be 100000.

    A link that leads nowhere is one too: whoever reads it says so.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_image(entry.name) and not is_hidden(entry.name) and not _is_folder(entry):
                yield entry.name


def image_files(folder: str | Path, _above: tuple[str, ...] = ()) -> list[Path]:
    """The images of a folder and of all folders below it, sorted.

    What is hidden is left out, the folder itself may be. Linked folders are read as others are, but not where one leads
    back to a folder that it lies in.

    Raises:
        OSError: for a folder that can't be read.
    """
    folder, real = Path(folder), os.path.realpath(folder)
    if real in _above:
        return []
    found = [folder / name for name in image_names(folder)]
    for name in folder_names(folder):
        found += image_files(folder / name, (*_above, real))
    return sorted(found)


def folder_names(folder: str | Path) -> list[str]:
    """The names of the folders in a folder, in no order, but for hidden ones."""
    with os.scandir(folder) as entries:
        return [x.name for x in entries if not is_hidden(x.name) and _is_folder(x)]


def _is_folder(entry: os.DirEntry) -> bool:
    # of a link that leads to itself `is_dir` raises
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()
