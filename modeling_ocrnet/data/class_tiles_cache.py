"""The cache of [`ClassTiles`]: one file for the masks, the classes and the tiling that they were found with."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import numpy as np
import pyarrow.compute
from datasets import Dataset, config

from ..common.atomic_files import atomic_write
from ..common.compat import transform_of
from ..common.errors import FileError
from .class_tiles import ClassTiles, Tiling, read_class_points
from .decoding import DataError, Decode
from .fingerprint import fingerprint
from .memory_mapped_store import file_of

logger = logging.getLogger(__name__)

VERSION = 1  # of the points; cached ones of other versions aren't used
_DIGEST = hashlib.sha256().digest_size


def find_class_tiles(dataset: Dataset, tiling: Tiling, tolerate: bool = False) -> ClassTiles:
    """The points of all classes, from the cache of `datasets` if they were found before.

    The file in the cache holds row numbers, not paths. It is used while the masks' names, sizes and modification times
    and the list of classes stay the same. Processes that read it share its memory.

    Args:
        dataset: from [`modeling_ocrnet.data.load`].
        tiling: how masks are cut.
        tolerate: leave out masks that can't be read, with one warning.

    Raises:
        DataError: for a mask that can't be read.
    """
    decode: Decode = transform_of(dataset)
    classes, file = len(decode.labels.trained), cache_file(dataset, tiling)
    found = None if file is None else _recall(file, classes)
    if found is not None and found.unread and tolerate:
        logger.warning("%d masks couldn't be read before. If they can be now, delete %s", found.unread, file)
    if found is not None and (tolerate or not found.unread):
        return found
    table = read_class_points(dataset, tiling, tolerate)
    digest = hashlib.sha256(table.data).digest()
    if file is not None and len(table):
        try:
            with atomic_write(file) as part, part.open("wb") as out:
                np.save(out, table)
                out.write(digest)
        except FileError as error:
            logger.warning("where the classes lie can't be cached, so the next run finds it again: %s", error)
    # the file's pages can leave memory
    found = None if file is None else _recall(file, classes)
    return found or ClassTiles(table, classes, digest.hex())


def cache_file(dataset: Dataset, tiling: Tiling) -> Path | None:
    """The file for exactly these masks; `None` if one is missing, or their state isn't known."""
    state = _masks_state(dataset)
    if state is None:
        return None
    decode: Decode = transform_of(dataset)
    labels = decode.labels
    meaning = (decode.train_ids, labels.labels, labels.color_codes, decode.max_pixels)
    digest = hashlib.sha256(repr((VERSION, state, meaning, tiling)).encode()).hexdigest()
    return Path(config.HF_DATASETS_CACHE) / "modeling_ocrnet" / "class_tiles" / f"{digest}.npy"


def _masks_state(dataset: Dataset) -> str | None:
    """A digest of the rows' names, and of the state of their masks; `None` if a mask is missing, or on the network."""
    rows = dataset.select_columns(["label", "name"]).with_format("arrow")
    tables = [x["filename"] for x in dataset.cache_files]
    digest = hashlib.sha256()
    files: dict[str, None] = {}
    for batch in rows.iter(1000):
        paths, contents = (pyarrow.compute.struct_field(batch["label"], x) for x in ("path", "bytes"))
        outside = [x or "" for x in paths.filter(pyarrow.compute.is_null(contents)).to_pylist()]
        if any("://" in x for x in outside):
            return None
        digest.update(repr((batch["name"].to_pylist(), outside)).encode())
        files |= dict.fromkeys(file_of(x) for x in outside if x)
        if len(outside) < len(paths):  # masks inside a table
            files |= dict.fromkeys(tables)
            for content in () if tables else contents.drop_null():  # in memory
                digest.update(hashlib.sha256(content.as_buffer()).digest())
    try:
        return digest.hexdigest() + fingerprint(files)
    except DataError:
        return None  # reading the masks names it


def _recall(file: Path, classes: int) -> ClassTiles | None:
    """The points in a cache file, mapped from the disk; `None` if there is none, or it isn't whole."""
    try:
        table = np.load(file, mmap_mode="r", allow_pickle=False)
        with file.open("rb") as written:
            written.seek(-_DIGEST, 2)
            digest = written.read()
    except (OSError, ValueError, EOFError):
        return None
    if (
        table.dtype != np.int32
        or table.ndim != 2
        or table.shape[1] != 4
        or hashlib.sha256(table.data).digest() != digest
    ):
        return None
    return ClassTiles(table, classes, digest.hex())
