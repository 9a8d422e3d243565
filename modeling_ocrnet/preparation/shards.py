"""The two forms of an export, a shard at a time."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from datasets import Dataset, Features, Image, Value

from ..data.decoding import DataError, Decode, open_image, read_image, read_mask
from ..data.errors import size_problem
from ..data.memory_mapped_store import UINT16

BATCH_BYTES = 32 * 2**20  # of a Parquet row group: what a reader holds at once


@dataclass(frozen=True)
class Shard:
    """Rows `start` to `stop` of a split, and the name that they are written under (without a suffix)."""

    name: str
    start: int
    stop: int


def plan_shards(split: str, sizes: list[int], shard_bytes: int) -> list[Shard]:
    """Cut a split into shards of about so many bytes: the same ones each time, so that an export can go on.

    Args:
        split: its name.
        sizes: bytes that each row will take, roughly.
        shard_bytes: bytes of a shard.
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
    """A shard of the images' own bytes and of masks as PNGs of train ids.

    Args:
        part: the file to write.
        files: a loaded split without its format: paths.
        shard: which rows.
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
    """A shard of decoded rows, image (height, width, 3) and train ids (height, width) one after the other.

    Args:
        part: the file to write.
        index: the JSON file to write: `[name, offset, height, width, labelled]` for each row.
        files, shard, decode, advance: as of [`write_parquet`].

    Raises:
        DataError: where a mask isn't as large as its image.
    """
    rows, offset = [], 0
    with part.open("wb") as file:
        for row in _rows(files, shard):
            image = np.asarray(read_image(row["image"], decode.value_range))
            labelled = row["label"] is not None
            rows.append([row["name"], offset, *image.shape[:2], labelled])
            offset += file.write(image.tobytes())
            if labelled:
                label = np.asarray(read_mask(row["label"], decode.labels, decode.train_ids))
                if problem := size_problem(row["label"]["path"], label.shape[::-1], image.shape[1::-1]):
                    raise DataError(problem)
                offset += file.write((label if label.itemsize == 1 else label.astype(UINT16)).tobytes())
            advance()
    index.write_text(json.dumps(rows) + "\n", encoding="utf-8")


def file_bytes(source: dict) -> bytes:
    """A file as it is.

    Raises:
        DataError: where it can't be read.
    """
    try:
        return Path(source["path"]).read_bytes()
    except OSError as error:
        raise DataError(f"{source['path']}: can't be read ({error.strerror})") from error


def _png(source: dict, decode: Decode) -> bytes:
    content = io.BytesIO()
    read_mask(source, decode.labels, decode.train_ids).save(content, "PNG")
    return content.getvalue()


def decoded_bytes(source: dict) -> int:
    """Bytes of an RGB image and its mask, by the image's header."""

    with open_image(source) as image:
        return 4 * image.width * image.height
