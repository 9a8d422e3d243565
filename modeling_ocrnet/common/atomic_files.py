"""Folders and files that are there as a whole or not at all, whatever happens while they are written; checksums."""

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
    """A path to write a file to, which becomes `target` when the block ends without an error.

    Nothing is there: neither what an interrupted run left, nor a link to elsewhere. Folders are made as needed.

    Raises:
        FileError: where it can't be written.
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
    """A folder to write into that becomes `target` when the block ends without an error, on all processes.

    Its files are on the disk, not only in the system's memory, before it gets its name.

    Args:
        manifest: write the checksums of all its files, last, as [`find_corruption`] compares them.
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
    """Give a finished folder its name; what had the name before is deleted once the new one can't be lost any more."""
    for path in (*temporary.rglob("*"), temporary):
        _to_disk(path)
    replaced = temporary
    if not target.exists():
        os.replace(temporary, target)
    elif not swap_folders(temporary, target):
        # two steps: `clean_partial_writes` mends what a crash between them leaves
        replaced = target.with_name(f".{target.name}.old")
        shutil.rmtree(replaced, ignore_errors=True)
        os.replace(target, replaced)
        os.replace(temporary, target)
    _to_disk(target.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def swap_folders(a: Path, b: Path) -> bool:
    """Let two folders change names in one step, where the system and the file system can (Linux, most of them)."""
    try:
        rename = ctypes.CDLL(None).renameat2
    except (AttributeError, OSError):
        return False
    return rename(_CURRENT_FOLDER, os.fsencode(a), _CURRENT_FOLDER, os.fsencode(b), _EXCHANGE) == 0


def remove(folder: Path) -> None:
    """Delete a folder; one that is half deleted doesn't have its name any more."""
    doomed = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(doomed, ignore_errors=True)
    os.replace(folder, doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def clean_partial_writes(parent: Path, pattern: str) -> None:
    """Clear away what a crash left of folders whose names match `pattern`: none of it was finished, or all is replaced.

    Only where no process is writing there.
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
    """What is wrong with a folder's files, going by its manifest: the first thing found; `None` where it is whole."""
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
                return f"{name} has another checksum than its manifest says"
        except OSError as error:
            return f"{name} can't be read: {error.strerror}"
    return None


def sha256(path: Path) -> str:
    """The SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not (path.is_dir() and error.errno == errno.EINVAL):  # some network file systems don't do it for folders
            raise
    finally:
        os.close(descriptor)
