"""The rule for which files in a folder are used, the same for all readers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

SUFFIXES = (".bmp", ".jfif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
# images, and arrays that may be masks, that aren't read: some need other libraries, others hold several pictures
_OTHERS = "arw avif cr2 cr3 dcm dng exr gif heic heif j2k jp2 jpx jxl mat nef npy npz pbm pnm psd raw svg tga"
UNREAD = tuple(f".{x}" for x in _OTHERS.split())
RULE = "Images in folders are found by their suffix; links are followed, hidden files (.*, __MACOSX) are left out."


def is_hidden(name: str) -> bool:
    """Whether it is a name that systems and tools create: `._x.jpg`, `.ipynb_checkpoints`, `__MACOSX`."""
    return name.startswith(".") or name == "__MACOSX"


def is_image(name: str, suffixes: tuple[str, ...] = SUFFIXES) -> bool:
    """Whether a name has one of the suffixes, in any case."""
    return os.path.splitext(name)[1].lower() in suffixes


def image_names(folder: str | Path, suffixes: tuple[str, ...] = SUFFIXES) -> Iterator[str]:
    """The names of a folder's images, unsorted. These are strings, because 100000 paths sort slowly.

    A broken link with an image's suffix is included; reading it will raise the error.

    Args:
        folder: the folder.
        suffixes: of the images; `UNREAD` for those that are left out.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_image(entry.name, suffixes) and not is_hidden(entry.name) and not _is_folder(entry):
                yield entry.name


def image_files(folder: str | Path, suffixes: tuple[str, ...] = SUFFIXES, _above: tuple[str, ...] = ()) -> list[Path]:
    """The images in a folder and in all folders below it, sorted.

    Hidden files and folders are left out, but the folder itself may be hidden. Links to folders are followed, unless
    one leads back to a folder that contains it.

    Args:
        folder: the folder.
        suffixes: as in [`image_names`].

    Raises:
        OSError: for a folder that can't be read.
    """
    folder, real = Path(folder), os.path.realpath(folder)
    if real in _above:
        return []
    found = [folder / name for name in image_names(folder, suffixes)]
    for name in folder_names(folder):
        found += image_files(folder / name, suffixes, (*_above, real))
    return sorted(found)


def folder_names(folder: str | Path) -> list[str]:
    """The names of the folders in a folder, unsorted, without hidden ones."""
    with os.scandir(folder) as entries:
        return [x.name for x in entries if not is_hidden(x.name) and _is_folder(x)]


def _is_folder(entry: os.DirEntry) -> bool:
    # for a link that leads to itself, `entry.is_dir` raises
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()


def shown_suffixes() -> str:
    """The suffixes that are read, for a message: bmp, jfif, jpeg ..."""
    return ", ".join(x[1:] for x in SUFFIXES)


def left_out(files: Sequence[Path]) -> str:
    """A line that names the first of some files whose suffix isn't read, and how many more there are."""
    more = f" and {len(files) - 1} more" if len(files) > 1 else ""
    return f"{files[0]}{more}: left out, only {shown_suffixes()} are read"
