"""Atomic writes: a file or folder is complete or absent, even if the process dies while it writes. And checksums."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import writing

if TYPE_CHECKING:
    from accelerate import Accelerator

MANIFEST = "manifest.json"
_CURRENT_FOLDER, _EXCHANGE = -100, 2  # AT_FDCWD of fcntl.h, RENAME_EXCHANGE of linux/fs.h


@contextlib.contextmanager
def atomic_write(target: str | Path) -> Iterator[Path]:
    """Yields a path to write a file to. The file is renamed to `target` when the block ends without an error.

    Nothing exists at the path yet: what an interrupted run left there is deleted, and so is a link. Parent folders are
    created as needed.

    Raises:
        FileError: if the file can't be written.
    """
    target = Path(target)
    part = target.with_name(f".{target.name}.part")
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        part.unlink(missing_ok=True)
        try:
            yield part
            os.replace(part, target)
        finally:
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(target: Path, accelerator: Accelerator, manifest: bool = False) -> Iterator[Path]:
    """Yields a folder to write into. It is renamed to `target` when the block ends without an error on all processes.

    Its files are flushed to the disk before it is renamed.

    Args:
        manifest: write the checksums of all files at the end; [`find_corruption`] compares them.
    """
    temporary = target.with_name(f".{target.name}.tmp")
    if accelerator.is_main_process:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
    accelerator.wait_for_everyone()
    yield temporary
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        if manifest:
            write_manifest(temporary)
        commit_folder(temporary, target)
    accelerator.wait_for_everyone()


def commit_folder(temporary: Path, target: Path) -> None:
    """Rename a finished folder to `target`. The folder it replaces is deleted after the new one is safe on the disk."""
    for path in (*temporary.rglob("*"), temporary):
        _to_disk(path)
    replaced = temporary
    if not target.exists():
        os.replace(temporary, target)
    elif not swap_folders(temporary, target):
        # two steps: `clean_partial_writes` repairs what a crash between them leaves
        replaced = target.with_name(f".{target.name}.old")
        shutil.rmtree(replaced, ignore_errors=True)
        os.replace(target, replaced)
        os.replace(temporary, target)
    _to_disk(target.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def swap_folders(a: Path, b: Path) -> bool:
    """Swap the names of two folders in one step. Returns False if the system or the file system can't do it.

    Linux can, on most file systems.
    """
    try:
        rename = ctypes.CDLL(None).renameat2
    except (AttributeError, OSError):
        return False
    return rename(_CURRENT_FOLDER, os.fsencode(a), _CURRENT_FOLDER, os.fsencode(b), _EXCHANGE) == 0


def remove(folder: Path) -> None:
    """Delete a folder. It is renamed first, so no half-deleted folder ever has its name."""
    doomed = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(doomed, ignore_errors=True)
    os.replace(folder, doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def clean_partial_writes(parent: Path, pattern: str) -> None:
    """Clean up what a crash left of folders whose names match `pattern`.

    An unfinished folder is deleted. A replaced one gets its name back if its successor is missing, and is deleted
    otherwise. Call this only if no process is writing there.
    """
    for old in parent.glob(f".{pattern}.old"):
        target = parent / old.name.removeprefix(".").removesuffix(".old")
        if not target.exists():
            os.replace(old, target)
    for suffix in ("old", "tmp"):
        for left in parent.glob(f".{pattern}.{suffix}"):
            shutil.rmtree(left)


def write_manifest(folder: Path) -> None:
    """`manifest.json`: size and SHA-256 of every file in the folder."""
    files = {
        str(path.relative_to(folder)): {"bytes": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / MANIFEST
    }
    (folder / MANIFEST).write_text(json.dumps({"files": files}, indent=1) + "\n", encoding="utf-8")


def find_corruption(folder: Path) -> str | None:
    """Compare a folder's files with its manifest.

    Returns:
        The first problem found; `None` if the folder is complete.
    """
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        files = {name: (int(entry["bytes"]), str(entry["sha256"])) for name, entry in content["files"].items()}
    except FileNotFoundError:
        return f"it has no {MANIFEST}, which is written last"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return f"its {MANIFEST} can't be read: {' '.join(str(error).split())[:100]}"
    for name, (size, checksum) in files.items():
        path = folder / name
        try:
            if path.stat().st_size != size:
                return f"{name} has {path.stat().st_size} bytes, its manifest says {size}"
            if sha256(path) != checksum:
                return f"{name} has a different checksum from the one in its manifest"
        except OSError as error:
            return f"{name} can't be read: {error.strerror}"
    return None


def sha256(path: Path) -> str:
    """The SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _to_disk(path: Path) -> None:
    """Wait until a file, or the list of a folder's entries, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not (path.is_dir() and error.errno == errno.EINVAL):  # some network file systems can't sync folders
            raise
    finally:
        os.close(descriptor)
