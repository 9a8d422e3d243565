"""Datasets for semantic segmentation: `load("cityscapes", root=..., split="train")`.

Every dataset comes out with the same columns: `image` (RGB), `label` (train ids, 255 ignored) and `name`.
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
        source: one of `DATASETS`, or what describes one's own data.
        root: where it lies; only needed for own data (`label_set("folder", root)`).

    Raises:
        UserError: for an unknown dataset.
        DataError: where own data doesn't say what its classes are; the message proposes some.
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
    """A dataset's split, lazily: nothing is read but the list of files, nothing is copied.

    Args:
        source: one of `DATASETS`, `"folder"`, or a [`DataSource`] (which recipes are), for all that can be said of own
            data.
        root: the folder that holds it, or a memory-mapped store of it (`scripts/prepare_data.py export --store raw`);
            `data/<name>` by default.
        split: `"train"`, `"val"` or, where there is one, `"test"`.
        instances: add the column `instances`, if the dataset has such files: (height, width) int32 arrays, label id *
            1000 + number within instances, less than 1000 elsewhere; `None` for rows without. A memory-mapped store
            keeps none.
        streaming: of the dataset `"hub"`: read it as it is downloaded.

    Returns:
        A `datasets.Dataset` with the columns `image` (PIL, RGB), `label` (PIL, mode "L": train ids, 255 where ignored;
        among more than 255 classes "I;16", 65535; `None` where a split has no labels) and `name`. When streaming, a
        `datasets.IterableDataset` of such rows.

    Raises:
        UserError: for an unknown dataset or split.
        DataError: where the root or the split isn't as expected; later, from the rows, for files that can't be read.
    """
    source = _source(source, root)
    if streaming and source.name != "hub":
        raise UserError(f"streaming is for the dataset 'hub'; the files of {source.name!r} are read lazily as it is")
    labels = label_set(source)
    if source.name == "hub":
        decode = Decode(labels, value_range=source.value_range)
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
    return _rows(columns, features).with_transform(Decode(labels, pairs.train_ids, source.value_range))


def _rows(columns: dict[str, list], features: Features) -> Dataset:
    import pyarrow

    # predictions are called after their rows: a list or an index could lead them out of their folder
    if strange := [name for name in columns["name"] if PurePath(name).name != name]:
        raise DataError(f"{len(strange)} images aren't called as files are, {strange[0]!r} for one: give plain names")
    try:
        # as Arrow arrays: from lists, `datasets` would look at each path by itself
        arrays = {name: pyarrow.array(column, pyarrow.string()) for name, column in columns.items()}
    except UnicodeEncodeError as error:
        raise DataError(f"{ascii(error.object)}: a name that isn't UTF-8: rename the file") from error
    return Dataset.from_dict(arrays, features=features)
