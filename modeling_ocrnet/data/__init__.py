"""Datasets for semantic segmentation: `load("cityscapes", root=..., split="train")`.

Every dataset has the same columns: `image` (RGB), `label` (train ids, 255 ignored) and `name`.
"""

from __future__ import annotations

from pathlib import Path, PurePath

from datasets import Dataset, Features, Image, IterableDataset, Value

from ..common.errors import UserError
from ..pixels_ocrnet import to_range
from . import folder, hub
from .class_checks import check_classes, log_findings, require_labelled
from .dataset_checks import Findings, check, check_sample
from .datasets import DATASETS, PublishedDataset, published
from .decoding import DataError, Decode
from .labels import IGNORE, LabelSet
from .memory_mapped_store import find_in_store, read_manifest
from .source import CUSTOM_DATASETS, DataSource

__all__ = [
    "DATASETS",
    "IGNORE",
    "CUSTOM_DATASETS",
    "DataError",
    "DataSource",
    "Findings",
    "LabelSet",
    "PublishedDataset",
    "check",
    "check_classes",
    "check_sample",
    "label_set",
    "load",
    "published",
    "require_labelled",
    "log_findings",
]


def _source(source: str | DataSource, root: str | Path | None) -> DataSource:
    if isinstance(source, str):
        return DataSource(source, None if root is None else str(root))
    if root is not None:
        raise ValueError("give the root inside the DataSource")
    return source


def label_set(source: str | DataSource, root: str | Path | None = None) -> LabelSet:
    """The classes of a dataset: names, colours, ids.

    Args:
        source: one of `DATASETS`, or the [`DataSource`] of a custom dataset.
        root: the dataset's folder; only needed for custom datasets (`label_set("folder", root)`).

    Raises:
        UserError: for an unknown dataset.
        DataError: if a custom dataset doesn't define its classes; the message proposes some.
    """
    source = _source(source, root)
    if source.name in DATASETS:
        return published(source.name).labels
    return (hub if source.name == "hub" else folder).label_set(source)


def load(
    source: str | DataSource,
    root: str | Path | None = None,
    split: str = "train",
    instances: bool = False,
    streaming: bool = False,
) -> Dataset | IterableDataset:
    """Load a split of a dataset lazily: only the list of files is read, and nothing is copied.

    Args:
        source: one of `DATASETS`, `"folder"`, or a [`DataSource`], which has all options for custom datasets. (A
            recipe's data section is one.)
        root: the dataset's folder, or a memory-mapped store of it (`ocrnet data export --store raw`);
            `data/<name>` by default.
        split: `"train"`, `"val"` or, if the dataset has it, `"test"`.
        instances: add the column `instances`, if the dataset has instance files: (height, width) int32 arrays, label
            id * 1000 + number inside instances, less than 1000 elsewhere; `None` for rows without. A memory-mapped
            store holds none.
        streaming: for the dataset `"hub"`: read the rows while they are downloaded.

    Returns:
        A `datasets.Dataset` with the columns `image` (PIL, RGB), `label` (PIL, mode "L": train ids, 255 is ignored;
        for more than 255 classes mode "I;16", 65535 is ignored; `None` if the split has no labels) and `name`. With
        `streaming`, a `datasets.IterableDataset` of such rows.

    Raises:
        UserError: for an unknown dataset or split.
        DataError: if the root or the split isn't as expected; later, when rows are read, for unreadable files.
    """
    source = _source(source, root)
    if streaming and source.name != "hub":
        raise UserError(f"streaming works for the dataset 'hub' only; files of {source.name!r} are read lazily anyway")
    labels = label_set(source)
    if source.name == "hub":
        decode = Decode(labels, value_range=source.value_range, max_pixels=source.max_pixels)
        if streaming:
            return hub.stream(source, split).map(decode, batched=True, batch_size=1)
        return hub.open_split(source, split).with_transform(decode)
    root = source.folder
    features = Features(image=Image(decode=False), label=Image(decode=False), name=Value("string"))
    if (manifest := read_manifest(root)) is not None:
        columns = find_in_store(root, manifest, source.name, split)
        if source.value_range is not None and to_range(source.value_range) != to_range(manifest.get("value_range")):
            raise DataError(
                f"{root}: was exported with value_range {manifest.get('value_range')}, now it is {source.value_range}: "
                "leave it out, or export again"
            )
        return _rows(columns, features).with_transform(Decode(labels, train_ids=True))
    pairs = folder.find(source, split) if source.name == "folder" else published(source.name).find(root, split)
    columns = {
        "image": [str(path) for path in pairs.images],
        "label": [None if path is None else str(path) for path in pairs.masks],
        "name": pairs.names,
    }
    if instances and pairs.instances is not None and any(pairs.instances):
        columns["instances"] = [None if path is None else str(path) for path in pairs.instances]
        features["instances"] = Image(decode=False)
    decode = Decode(labels, pairs.train_ids, source.value_range, source.max_pixels)
    return _rows(columns, features).with_transform(decode)


def _rows(columns: dict[str, list], features: Features) -> Dataset:
    import pyarrow

    # predictions are named after their rows: names from a list or an index could lead out of the output folder
    if strange := [name for name in columns["name"] if PurePath(name).name != name]:
        raise DataError(f"{len(strange)} images have invalid names, e.g. {strange[0]!r}: give plain file names")
    try:
        # Arrow arrays, because `datasets` would process each path of a list separately
        arrays = {name: pyarrow.array(column, pyarrow.string()) for name, column in columns.items()}
    except UnicodeEncodeError as error:
        raise DataError(f"{ascii(error.object)}: the name isn't valid UTF-8: rename the file") from error
    return Dataset.from_dict(arrays, features=features)
