"""Exports a dataset as sharded Parquet (to share or stream) or as a memory-mapped store (to train without decoding)."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any, Literal

from datasets import Dataset
from tqdm import tqdm

from .. import data
from ..common.atomic_files import atomic_write
from ..common.compat import transform_of
from ..common.errors import UserError
from ..data.classes import classes_of
from ..data.decoding import Decode
from ..data.fingerprint import fingerprint
from ..hub.data_notes import facts_of
from ..hub.push import push_dataset, require_token
from .dataset_card import make_dataset_card
from .manifest import Manifest
from .shards import Shard, decoded_bytes, plan_shards, write_memory_mapped, write_parquet

logger = logging.getLogger(__name__)

VERSION = 1  # of the format; a folder with another version is refused


def export(
    source: str | data.DataSource,
    output: str,
    root: str | None = None,
    splits: str | None = None,
    store: Literal["parquet", "raw"] = "parquet",
    shard_mb: int | None = None,
    push: str | None = None,
    private: bool = False,
) -> Path:
    """Write a dataset as a few large files with checksums. If run again, it verifies existing files and continues.

    Args:
        source: One of modeling_ocrnet.data.DATASETS, "folder", or a DataSource.
        output: The folder to write; it must be new, empty, or an export of the same source.
        root: The dataset's folder, if the source is a name (null: data/<name>).
        splits: Splits to export, separated by commas (null: train and val).
        store: parquet keeps the original image files; raw decodes them, so that a training crop needs only a read.
        shard_mb: Size of a shard in megabytes (null: 256 for parquet, 1024 for raw).
        push: Upload the export to this dataset repository on the Hub, owner/name (parquet only).
        private: Make the new repository private.

    Returns:
        The folder.

    Raises:
        UserError: for an unknown dataset or split, or an export that can't be pushed.
        DataError: if a file can't be read, or the folder holds something else.
        HubError: if nobody is logged in, or the upload fails.
    """
    if isinstance(source, str):
        source = data.DataSource(source, root)
    elif root is not None:
        raise UserError("give the root inside the DataSource")
    name = source.name
    _check_options(source, store, shard_mb)
    if push is not None:
        _check_push(name, store, private)
    chosen = [x.strip() for x in splits.split(",")] if splits else ["train", "val"]
    labels = data.label_set(source)
    loaded = _load_checked(source, chosen, labels)
    files = {split: dataset.with_format(None) for split, dataset in loaded.items()}
    paths = {split: _paths(x) for split, x in files.items()}
    shard_mb = shard_mb or {"parquet": 256, "raw": 1024}[store]
    description = {
        "version": VERSION,
        "store": store,
        "dataset": name,
        "shard_mb": shard_mb,
        "splits": {split: len(x) for split, x in files.items()},
        "source": fingerprint((y for split in chosen for x in paths[split] for y in x), whole_paths=False),
    }
    folder = Path(output).expanduser()
    manifest = Manifest(folder, description | _optional_facts(source, store, labels))
    plans = {}
    for split in chosen:
        if store == "raw":
            sizes = [decoded_bytes(x, source.max_pixels) for x in files[split]["image"]]
        else:
            sizes = [sum(os.path.getsize(y) for y in x) for x in paths[split]]
        plans[split] = plan_shards(split, sizes, shard_mb * 2**20)
    with tqdm(total=sum(map(len, loaded.values())), desc=f"exporting {name}", unit="image", disable=None) as bar:
        for split in chosen:
            decode = transform_of(loaded[split])
            for shard in plans[split]:
                _write_shard(folder, manifest, store, files[split], shard, decode, bar)
    _write_text(folder / "id2label.json", json.dumps(dict(enumerate(labels.names)), indent=1) + "\n")
    if name in data.CUSTOM_DATASETS:
        _write_text(folder / "classes.json", json.dumps(classes_of(labels), indent=1) + "\n")
    if store == "parquet":
        _write_text(folder / "README.md", make_dataset_card(name, labels, manifest.content))
    manifest.finish()
    if push is not None:
        logger.info("pushed: %s", push_dataset(folder, push, private=private))
    return folder


def _check_options(source: data.DataSource, store: str, shard_mb: int | None) -> None:
    """Refuse options that don't work together."""
    if shard_mb is not None and shard_mb < 1:
        raise UserError(f"shard_mb must be positive, got {shard_mb}")
    if source.name == "hub":
        raise UserError("datasets on the Hub are Parquet already: only datasets in folders are exported")
    if store == "parquet" and source.value_range is not None:
        raise UserError(
            "a Parquet export keeps the image files unchanged and can't store a value_range: leave it out here and "
            "give it when the data is read, or export with --store raw"
        )


def _load_checked(source: data.DataSource, splits: list[str], labels: data.LabelSet) -> dict[str, Dataset]:
    """Load the splits and check their files and classes."""
    loaded = {split: data.load(source, split=split) for split in splits}
    findings = {split: data.check(dataset) for split, dataset in loaded.items()}
    for split, found in findings.items():
        data.log_findings(found, labels, split)
    data.check_classes(labels, [(loaded[split], findings[split]) for split in splits])
    return loaded


def _optional_facts(source: data.DataSource, store: str, labels: data.LabelSet) -> dict[str, Any]:
    """Fields that the manifest has only if they differ from the default."""
    facts: dict[str, Any] = {}
    if labels.dtype().itemsize > 1:
        facts["label_bits"] = 16
    if store == "raw" and source.value_range is not None:
        facts["value_range"] = source.value_range
    if source.name in data.CUSTOM_DATASETS:
        facts["classes"] = [[x.name, x.id, x.train_id, x.color] for x in labels.labels]
    return facts


def _check_push(name: str, store: str, private: bool) -> None:
    """Check that the export may be pushed, before hours of work."""
    facts = facts_of(name)
    if store != "parquet":
        raise UserError("only Parquet is pushed: leave --store raw out")
    if not private and not (facts and facts.redistributable):
        why = "its terms forbid redistribution" if facts else "its terms aren't known here"
        raise UserError(f"{name} can't be pushed publicly, {why}: add --private true, and keep the repository so")
    require_token()


def _paths(files: Dataset) -> list[list[str]]:
    """The files of each row."""
    return [
        [x["path"] for x in (image, label) if x is not None]
        for image, label in zip(files["image"], files["label"], strict=True)
    ]


def _write_text(path: Path, text: str) -> None:
    with atomic_write(path) as part:
        part.write_text(text, encoding="utf-8")


def _write_shard(
    folder: Path, manifest: Manifest, store: str, files: Dataset, shard: Shard, decode: Decode, bar: tqdm
) -> None:
    names = [f"{shard.name}.{suffix}" for suffix in (("parquet",) if store == "parquet" else ("json", "raw"))]
    rows = shard.stop - shard.start
    if all(manifest.holds(x) for x in names):
        bar.update(rows)
        return
    parts = [folder / "data" / f".{Path(x).name}.part" for x in names]
    try:
        if store == "parquet":
            write_parquet(parts[0], files, shard, decode, bar.update)
        else:
            write_memory_mapped(parts[1], parts[0], files, shard, decode, bar.update)
        for x, part in zip(names, parts, strict=True):
            manifest.add(x, part, rows)
    finally:
        for part in parts:
            part.unlink(missing_ok=True)
