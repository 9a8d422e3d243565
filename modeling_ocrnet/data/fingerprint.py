"""A digest of files' names, sizes and modification times, which tells whether they have changed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable

from .decoding import DataError


def fingerprint(files: Iterable[str], whole_paths: bool = True) -> str:
    """A digest that changes if a file is added, removed, renamed or written to.

    Args:
        files: their paths; the order matters.
        whole_paths: include the folders, not only the file names.

    Raises:
        DataError: if a file is missing.
    """
    digest, here = hashlib.sha256(), os.getcwd()
    for file in files:
        try:
            found = os.stat(file)
        except (OSError, ValueError) as error:  # ValueError: the name is invalid
            raise DataError(f"{file}: can't be read ({error})") from error
        name = os.path.join(here, file) if whole_paths else os.path.basename(file)
        digest.update(f"{name}\0{found.st_size} {found.st_mtime_ns}\n".encode())
    return digest.hexdigest()
