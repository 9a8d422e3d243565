"""Unicode file names. é may be one character (NFC, as on most systems) or two (NFD, as macOS used to write it).

Names are compared, sorted and hashed in NFC; files are opened under the name on the disk.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from .errors import DataError


def nfc(text: str) -> str:
    """A name in NFC, for comparison with others."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def path_on_disk(path: Path, listed: dict[Path, dict[str, str | None]]) -> Path:
    """The path as it is spelled on the disk. It is unchanged if it exists, or if no other spelling of it does.

    Args:
        path: the path as given.
        listed: a cache of the folders listed so far, updated here, so that each folder is listed only once.
    """
    if str(path).isascii() or os.path.lexists(path):
        return path
    folder = path_on_disk(path.parent, listed)  # recurses up to a folder that exists
    if folder not in listed:
        listed[folder] = _by_nfc(folder)
    name = listed[folder].get(nfc(path.name))
    return path if name is None else folder / name


def paths_on_disk(folder: Path, names: Iterable[str], suffix: str) -> list[str]:
    """The files with these names in a folder, as [`path_on_disk`] finds them."""
    listed: dict[Path, dict[str, str | None]] = {}
    # strings, not Paths, and no system call for most, because there may be 100000 names
    files = (f"{x}{suffix}" for x in names)
    return [f"{folder}/{x}" if x.isascii() else str(path_on_disk(folder / x, listed)) for x in files]


def _by_nfc(folder: Path) -> dict[str, str | None]:
    """A folder's names by their NFC; `None` if two files have the same NFC."""
    found = {}
    try:
        for name in os.listdir(folder):
            found[nfc(name)] = None if nfc(name) in found else name
    except OSError:  # no such folder: opening the file will raise the error
        pass
    return found


def two_spellings(folder: Path, one: str, two: str) -> DataError:
    """The error for two files in a folder whose names are the same in NFC."""
    one, two = told_apart(sorted([one, two]))
    return DataError(f"{folder}/{one}: {two} has the same name in other Unicode characters: rename or remove one")


def told_apart(names: list[str]) -> list[str]:
    """Names for a message; with escaped characters if they would look the same."""
    return [ascii(x) for x in names] if len({nfc(x) for x in names}) < len(names) else names
