"""Whether files are what they were: a digest of their names, sizes and times, a question to the disk for each."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable

from .decoding import DataError


def fingerprint(files: Iterable[str], whole_paths: bool = True) -> str:
    """Another one where any file was added, taken away, renamed or written to.

    Args:
        files: paths, in the order that counts.
        whole_paths: of the paths, the folders count too.

    Raises:
        DataError: where one isn't there.
    """
    digest, here = hashlib.sha256(), os.getcwd()
    for file in files:
        try:
            found = os.stat(file)
        except (OSError, ValueError) as error:  # ValueError: for names that no file can have
            raise DataError(f"{file}: can't be read ({error})") from error
        name = os.path.join(here, file) if whole_paths else os.path.basename(file)
        digest.update(f"{name}\0{found.st_size} {found.st_mtime_ns}\n".encode())
    return digest.hexdigest()
