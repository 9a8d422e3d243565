"""Names of files in Unicode, which writes é as one character (NFC, as most systems do) or as two (NFD, as macOS did).

Names are compared, sorted and hashed in NFC; files are opened as the disk spells them.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from .errors import DataError


def nfc(text: str) -> str:
    """A name as it is compared with others."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def path_on_disk(path: Path, listed: dict[Path, dict[str, str | None]]) -> Path:
    """The path as the disk spells it; unchanged if it is there, or if nothing else of that name is.

    Args:
        path: as somebody wrote it.
        listed: the folders looked into so far, added to here: each is listed once, however many names are asked for.
    """
    if str(path).isascii() or os.path.lexists(path):
        return path
    folder = path_on_disk(path.parent, listed)  # up to a folder that is there
    if folder not in listed:
        listed[folder] = _by_nfc(folder)
    name = listed[folder].get(nfc(path.name))
    return path if name is None else folder / name


def paths_on_disk(folder: Path, names: Iterable[str], suffix: str) -> list[str]:
    """The files of these names in a folder, as [`path_on_disk`] finds them."""
    listed = {}
    # a hundred thousand names: strings, not Paths, and no question to the disk for most
    files = (f"{x}{suffix}" for x in names)
    return [f"{folder}/{x}" if x.isascii() else str(path_on_disk(folder / x, listed)) for x in files]


def _by_nfc(folder: Path) -> dict[str, str | None]:
    """A folder's names by their NFC; `None` where that stands for two files."""
    found = {}
    try:
        for name in os.listdir(folder):
            found[nfc(name)] = None if nfc(name) in found else name
    except OSError:  # no folder: whoever opens the file says what is wrong
        pass
    return found


def two_spellings(folder: Path, one: str, two: str) -> DataError:
    """The error for two files of a folder that have one name."""
    one, two = told_apart(sorted([one, two]))
    return DataError(f"{folder}/{one}: there is {two} too, the same name in other characters: rename or remove one")


def told_apart(names: list[str]) -> list[str]:
    """Names for a message, with the numbers of their characters if they would look the same."""
    return [ascii(x) for x in names] if len({nfc(x) for x in names}) < len(names) else names
