"""Datasets on the Hub (or in a local folder that `load_dataset` can read) with a column of images and one of masks."""

from __future__ import annotations

import hashlib
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import datasets
from datasets import Dataset, Image, IterableDataset
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

from ..common.compat import data_files_of
from .class_proposal import suggest_classes_json
from .classes import read_classes
from .decoding import DataError, located
from .labels import LabelSet
from .source import DataSource
from .unicode_names import nfc

__all__ = ["label_set", "open_split", "stream"]

SAMPLE = 64  # masks that a proposal of classes is based on
_FILES = ("classes.json", "id2label.json")  # files in a dataset's repository that may define the ids


def label_set(source: DataSource) -> LabelSet:
    """The classes, from the file that the source names, or from `classes.json` or `id2label.json` in the repository.

    Raises:
        DataError: if there is no such file; the message proposes one, based on the content of the first masks.
    """
    file = Path(source.classes).expanduser() if source.classes else _file(str(source.path))
    if file is not None:
        return read_classes(file, source.reduce_zero_label, source.ignore_ids)
    splits = _load(source, None, streaming=True)
    split, rows = next(iter(splits.items()))
    first = (row[source.mask_column] for row in islice(_columns(rows, source), SAMPLE))
    masks = [located(mask, f"{split} {i}") for i, mask in enumerate(first) if mask is not None]
    raise DataError(
        f"{source.path}: has no {' or '.join(_FILES)} to define the classes. The first {len(masks)} masks of {split} "
        f"hold\n{suggest_classes_json(masks, source.max_pixels)}\n\n"
        "Name the classes, save this as a file, and give it: classes FILE"
    )


def open_split(source: DataSource, split: str) -> Dataset:
    """A split's undecoded columns `image`, `label` and `name` (split and row number).

    Raises:
        DataError: if the dataset, the split or a column doesn't exist.
    """
    rows = _columns(_load(source, split, streaming=False), source)
    renamed = {source.image_column: "image", source.mask_column: "label"}
    rows = rows.rename_columns({old: new for old, new in renamed.items() if old != new})
    return rows.add_column("name", [f"{split}_{i:06d}" for i in range(len(rows))])


def stream(source: DataSource, split: str) -> IterableDataset:
    """The same columns, read while they are downloaded. A row's name is that of its file, or a hash of its content.

    Undecoded rows are small: shuffle and shard these, and decode afterwards.
    """
    rows = _columns(_load(source, split, streaming=True), source)
    return rows.map(partial(_row, source), remove_columns=rows.column_names)


def _row(source: DataSource, row: dict) -> dict:
    image, label = row[source.image_column], row[source.mask_column]
    if image is None or (image["path"] is None and image["bytes"] is None):
        raise DataError(f"{source.path}: a row has no {source.image_column}")
    name = nfc(Path(image["path"]).stem) if image["path"] else hashlib.sha256(image["bytes"]).hexdigest()[:12]
    return {"image": image, "label": label, "name": name}


def _file(path: str) -> Path | None:
    """The file that defines the classes in a dataset's folder or repository; `None` if there is none."""
    for name in _FILES:
        if Path(path).is_dir():
            if (Path(path) / name).is_file():
                return Path(path) / name
            continue
        try:
            return Path(hf_hub_download(path, name, repo_type="dataset"))
        except RepositoryNotFoundError as error:
            raise DataError(f"{path}: no such folder, and no such dataset on the Hub that you may read") from error
        except LocalEntryNotFoundError as error:
            raise DataError(f"{path}: {name} can't be fetched from the Hub: give a local file as classes") from error
        except EntryNotFoundError:
            continue
        except (HfHubHTTPError, OSError, ValueError) as error:
            raise DataError(f"{path}: {name} can't be fetched from the Hub ({_one_line(error)})") from error
    return None


def _load(source: DataSource, split: str | None, streaming: bool):
    try:
        options = {} if streaming or split is None else _alone(source, split)
        return datasets.load_dataset(source.path, source.config_name, split=split, streaming=streaming, **options)
    except (datasets.exceptions.DatasetsError, OSError, ValueError, RuntimeError) as error:
        raise DataError(f"{source.path}: can't be loaded ({_one_line(error)})") from error


def _alone(source: DataSource, split: str) -> dict[str, Any]:
    """Options that make `load_dataset` download the files of one split. By default it downloads and copies all."""
    builder = datasets.load_dataset_builder(source.path, source.config_name)
    files, name = data_files_of(builder), split.partition("[")[0]
    if name not in files:  # several splits, as in "train+test", or an error, which `load_dataset` reports
        return {}
    # no checks, because the card's numbers are those of all splits
    return {
        "data_files": {name: files[name]},
        "features": builder.info.features,
        "verification_mode": "no_checks",
    }


def _columns(rows, source: DataSource):
    """Only the two columns, undecoded, with the names that the source uses."""
    wanted = (source.image_column, source.mask_column)
    spelled = {nfc(name): name for name in rows.features or {}}
    other = {spelled[nfc(x)]: x for x in wanted if spelled.get(nfc(x), x) != x and x not in spelled.values()}
    rows = rows.rename_columns(other) if other else rows
    found = rows.features or {}
    columns = dict(zip(("image_column", "mask_column"), wanted, strict=True))
    images = [name for name, feature in found.items() if isinstance(feature, Image)]
    for option, column in columns.items():
        if column not in images:
            held = f"holds {type(found[column]).__name__}" if column in found else "doesn't exist"
            raise DataError(
                f"{source.path}: {option} {column!r} {held}, expected one of its columns of images: {images}"
            )
    rows = rows.select_columns(list(columns.values()))
    for column in columns.values():
        rows = rows.cast_column(column, Image(decode=False))
    return rows


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
