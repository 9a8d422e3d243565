"""The memory-mapped store: images and train ids as raw bytes in a few large files. A crop reads only its rows.

A store has a `manifest.json`, and for each `data/<split>-00000-of-000NN.raw` a `.json` file that lists its rows. In the
rows of a loaded dataset, the path of an image or a mask is an address inside such a file, written by [`array_path`].
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path

import numpy as np

from .errors import DataError
from .pairs import check_split

MANIFEST = "manifest.json"
_FILE = re.compile(r"data/[\w.-]+")  # all files of an export are in this folder
_ENTRY = re.compile(r"(.+\.raw)#(\d+):(\d+)x(\d+)(x3|u16)?")
UINT16 = np.dtype("<u2")  # the dtype of label maps with more than 255 classes


def read_manifest(root: Path) -> dict | None:
    """The manifest of an export; `None` if the folder isn't an export.

    Raises:
        DataError: if it can't be read.
    """
    path = root / MANIFEST
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return found if "store" in found and "files" in found else None
    except (ValueError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: can't be read ({error}): export again") from error


def find_in_store(root: Path, manifest: dict, name: str, split: str) -> dict[str, list]:
    """The columns `image`, `label` and `name` of a split; paths are addresses inside the store's files.

    Raises:
        ValueError: if the store doesn't have the split.
        DataError: if the store holds another dataset or is unfinished, or files are missing or truncated.
    """
    if manifest["store"] != "raw":
        raise DataError(
            f"{root}: is a Parquet export: read it with name hub, path {root}, mask_column label; or export again with "
            "--store raw"
        )
    if manifest["dataset"] != name:
        raise DataError(f"{root}: holds {manifest['dataset']}, not {name}")
    if not manifest.get("complete"):
        raise DataError(f"{root}: the export was interrupted: run it again, and it continues where it stopped")
    try:
        sizes = {file: entry["bytes"] for file, entry in manifest["files"].items()}
        check_split(split, tuple(manifest["splits"]))
    except (AttributeError, KeyError, TypeError) as error:
        raise DataError(f"{root / MANIFEST}: isn't a manifest of an export ({error!r}): export again") from error
    if strange := [file for file in sizes if not _FILE.fullmatch(file)]:
        raise DataError(f"{root / MANIFEST}: names {strange[0]!r}, which no export writes: export again")
    problems = [
        f"{root / file}: is missing or isn't {size} bytes long"
        for file, size in sizes.items()
        if not (root / file).is_file() or (root / file).stat().st_size != size
    ]
    if problems:
        raise DataError("\n  ".join([f"{root} is damaged; run its export again:", *problems]))
    columns: dict[str, list] = {"image": [], "label": [], "name": []}
    label_bytes = 2 if manifest.get("label_bits") == 16 else 1
    for file in sorted(x for x in sizes if x.startswith(f"data/{split}-") and x.endswith(".json")):
        data = str((root / file).with_suffix(".raw"))
        for name, offset, height, width, labelled in _index(root / file, sizes.get(file[:-5] + ".raw", 0), label_bytes):
            columns["name"].append(name)
            columns["image"].append(array_path(data, offset, (height, width, 3)))
            label = array_path(data, offset + height * width * 3, (height, width), wide=label_bytes == 2)
            columns["label"].append(label if labelled else None)
    return columns


def _index(file: Path, size: int, label_bytes: int) -> list[list]:
    """The rows `[name, offset, height, width, labelled]` of a shard.

    Raises:
        DataError: if they aren't such rows, or one doesn't lie within the shard's `size` bytes.
    """
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))
        for name, offset, height, width, labelled in rows:
            numbers = all(type(x) is int for x in (offset, height, width)) and type(labelled) is bool
            end = offset + height * width * (3 + label_bytes * labelled)
            if not (isinstance(name, str) and numbers and offset >= 0 and min(height, width) > 0 and end <= size):
                raise ValueError(f"{name!r} isn't within the {size} bytes of its shard")
    except (ValueError, TypeError, RecursionError) as error:
        raise DataError(f"{file}: isn't a list of rows of an export ({error}): export again") from error
    return rows


def array_path(file: str, offset: int, shape: tuple[int, ...], wide: bool = False) -> str:
    """The address of an array: its file, first byte and shape, and whether each value takes two bytes."""
    return f"{file}#{offset}:{'x'.join(map(str, shape))}{'u16' if wide else ''}"


def file_of(path: str) -> str:
    """The file in which an address of a memory-mapped store lies; another path is its own."""
    match = _ENTRY.fullmatch(path)
    return path if match is None else match[1]


def memory_mapped_array(source: dict) -> np.ndarray | None:
    """The array of an entry `{"path": ..., "bytes": ...}`, uint8 or uint16, which is read from the disk on access.

    `None` for entries that aren't in a memory-mapped store.

    Raises:
        DataError: if the file is missing, or the array isn't inside it.
    """
    match = _ENTRY.fullmatch(source["path"] or "") if source["bytes"] is None else None
    if match is None:
        return None
    file, offset, height, width, kind = match.groups()
    shape = (int(height), int(width), 3) if kind == "x3" else (int(height), int(width))
    try:
        return np.ndarray(shape, UINT16 if kind == "u16" else np.uint8, _mapped(file), int(offset))
    except (OSError, TypeError, ValueError) as error:
        raise DataError(f"{source['path']}: isn't part of a memory-mapped store ({error})") from error


@lru_cache(maxsize=64)
def _mapped(file: str) -> np.memmap:
    return np.memmap(file, np.uint8, mode="r")
