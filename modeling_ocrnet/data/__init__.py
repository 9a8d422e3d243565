"""Datasets for semantic segmentation: `load("cityscapes", root=..., split="train")`.

Every dataset comes out with the same columns: `image` (RGB), `label` (train ids, 255 ignored) and `name`.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from datasets import Dataset, Features, Image, Value

from .checks import check
from .decoding import DataError, Decode
from .labels import IGNORE, LabelSet
from .store import find_stored, read_manifest

# one module of this package each
DATASETS = (
    "ade20k",
    "camvid",
    "cityscapes",
    "coco_stuff_10k",
    "coco_stuff_164k",
    "lip",
    "pascal_context_59",
    "pascal_context_60",
    "pascal_voc",
    "street_scenes",
)

__all__ = ["DATASETS", "IGNORE", "DataError", "LabelSet", "check", "label_set", "load"]


def _reader(name: str):
    if name not in DATASETS:
        raise ValueError(f"dataset {name!r} is unknown; there are {', '.join(DATASETS)}")
    return import_module(f".{name}", __name__)


def label_set(name: str) -> LabelSet:
    """The classes of a dataset: names, colours, ids."""
    return _reader(name).LABELS


def load(name: str, root: str | Path | None = None, split: str = "train", instances: bool = False) -> Dataset:
    """A dataset's split, lazily: nothing is read but the list of files, nothing is copied.

    Args:
        name: one of `DATASETS`.
        root: where it lies, or a raw store of it (`scripts/prepare_data.py export --store raw`); `data/<name>` by
            default.
        split: `"train"`, `"val"` or, where there is one, `"test"`.
        instances: add the column `instances`, if the dataset has such files: (height, width) int32 arrays, label id *
            1000 + number within instances, less than 1000 elsewhere; `None` for rows without. A raw store keeps none.

    Returns:
        A `datasets.Dataset` with the columns `image` (PIL, RGB), `label` (PIL, mode "L": train ids, 255 where
        ignored; `None` where a split has no labels) and `name`.

    Raises:
        ValueError: for an unknown dataset or split.
        DataError: where the root or the split isn't as expected; later, from the rows, for files that can't be read.
    """
    reader = _reader(name)
    root = Path(root if root is not None else reader.DEFAULT_ROOT).expanduser()
    features = Features(image=Image(decode=False), label=Image(decode=False), name=Value("string"))
    if (manifest := read_manifest(root)) is not None:
        columns = find_stored(root, manifest, name, split)
        return _rows(columns, features).with_transform(Decode(reader.LABELS.train_id_files))
    pairs = reader.find(root, split)
    columns = {
        "image": [str(path) for path in pairs.images],
        "label": [None if path is None else str(path) for path in pairs.masks],
        "name": pairs.names,
    }
    if instances and pairs.instances is not None and any(pairs.instances):
        columns["instances"] = [None if path is None else str(path) for path in pairs.instances]
        features["instances"] = Image(decode=False)
    table = reader.LABELS.train_id_files if pairs.train_ids else reader.LABELS.to_train_ids
    return _rows(columns, features).with_transform(Decode(table))


def _rows(columns: dict[str, list], features: Features) -> Dataset:
    import pyarrow

    # as Arrow arrays: from lists, `datasets` would look at each path by itself
    arrays = {name: pyarrow.array(column, pyarrow.string()) for name, column in columns.items()}
    return Dataset.from_dict(arrays, features=features)
