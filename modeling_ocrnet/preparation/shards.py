"""Writes the shards of an export, in either format."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from datasets import Dataset, Features, Image, Value

from ..data.decoding import DataError, Decode, read_image, read_mask
from ..data.errors import size_problem
from ..data.image_headers import open_image
from ..data.memory_mapped_store import UINT16

BATCH_BYTES = 32 * 2**20  # size of a Parquet row group, which a reader holds in memory at once


@dataclass(frozen=True)
class Shard:
    """Rows `start` to `stop` - 1 of a split, and the name of their file (without suffix)."""

    name: str
    start: int
    stop: int


def plan_shards(split: str, sizes: list[int], shard_bytes: int) -> list[Shard]:
    """Divide a split into shards of about `shard_bytes`. The result is deterministic, so an export can be continued.

    Args:
        split: its name.
        sizes: the approximate size of each row in bytes.
        shard_bytes: the size of a shard in bytes.
    """
    of_row = (np.cumsum(sizes) - np.array(sizes)) // shard_bytes  # a row belongs to the shard that it starts in
    starts = [0, *(np.flatnonzero(np.diff(of_row)) + 1).tolist()]
    stops = [*starts[1:], len(sizes)]
    return [
        Shard(f"data/{split}-{i:05d}-of-{len(starts):05d}", start, stop)
        for i, (start, stop) in enumerate(zip(starts, stops, strict=True))
    ]


def _rows(files: Dataset, shard: Shard) -> Iterator[dict]:
    return (files[i] for i in range(shard.start, shard.stop))


def write_parquet(part: Path, files: Dataset, shard: Shard, decode: Decode, advance) -> None:
    """Write a shard of the original image files and of masks as PNG files of train ids.

    Args:
        part: the file to write.
        files: a loaded split without its transform, so that rows hold paths.
        shard: the rows to write.
        decode: the dataset's decoding.
        advance: called after each row.
    """
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    schema = Features(image=Image(), label=Image(), name=Value("string")).arrow_schema  # datasets reads the features
    batch, size = [], 0
    with ParquetWriter(part, schema) as writer:
        for row in _rows(files, shard):
            image = {"bytes": file_bytes(row["image"]), "path": Path(row["image"]["path"]).name}
            label = (
                None if row["label"] is None else {"bytes": _png(row["label"], decode), "path": f"{row['name']}.png"}
            )
            batch.append({"image": image, "label": label, "name": row["name"]})
            size += len(image["bytes"]) + (len(label["bytes"]) if label else 0)
            if size >= BATCH_BYTES:
                writer.write_table(pyarrow.Table.from_pylist(batch, schema))
                batch, size = [], 0
            advance()
        if batch:
            writer.write_table(pyarrow.Table.from_pylist(batch, schema))


def write_memory_mapped(part: Path, index: Path, files: Dataset, shard: Shard, decode: Decode, advance) -> None:
    """Write a shard of decoded rows: the image (height, width, 3), followed by the train ids (height, width).

    Args:
        part: the file to write.
        index: the JSON file to write: `[name, offset, height, width, labelled]` for each row.
        files, shard, decode, advance: as for [`write_parquet`].

    Raises:
        DataError: if a mask and its image differ in size.
    """
    rows, offset = [], 0
    with part.open("wb") as file:
        for row in _rows(files, shard):
            image = np.asarray(read_image(row["image"], decode.value_range, decode.max_pixels))
            labelled = row["label"] is not None
            rows.append([row["name"], offset, *image.shape[:2], labelled])
            offset += file.write(image.tobytes())
            if labelled:
                label = np.asarray(read_mask(row["label"], decode.labels, decode.train_ids, decode.max_pixels))
                if problem := size_problem(row["label"]["path"], label.shape[::-1], image.shape[1::-1]):
                    raise DataError(problem)
                offset += file.write((label if label.itemsize == 1 else label.astype(UINT16)).tobytes())
            advance()
    index.write_text(json.dumps(rows) + "\n", encoding="utf-8")


def file_bytes(source: dict) -> bytes:
    """The content of a file.

    Raises:
        DataError: if it can't be read.
    """
    try:
        return Path(source["path"]).read_bytes()
    except OSError as error:
        raise DataError(f"{source['path']}: can't be read ({error.strerror})") from error


def _png(source: dict, decode: Decode) -> bytes:
    content = io.BytesIO()
    read_mask(source, decode.labels, decode.train_ids, decode.max_pixels).save(content, "PNG")
    return content.getvalue()


def decoded_bytes(source: dict, max_pixels: int) -> int:
    """The size in bytes of a decoded RGB image and its mask, computed from the image's header."""

    with open_image(source, max_pixels) as image:
        return 4 * image.width * image.height
