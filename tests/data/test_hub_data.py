"""Datasets with an image and a mask column, as `load_dataset` reads them: from folders, without a network."""

import json
import unicodedata
import zipfile

import datasets
import numpy as np
import pytest
from datasets import Dataset, Features, Image, Value
from PIL import Image as Picture

from modeling_ocrnet import data
from modeling_ocrnet.data import DataSource, hub

IMAGES = [np.full((8, 12, 3), 40 * i, np.uint8) for i in range(5)]
MASKS = [np.full((8, 12), i % 3, np.uint8) for i in range(5)]
NAMES = ("road", "tree", "car")


@pytest.fixture
def path(tmp_path):
    """A repository of parquet files: 4 rows to train, 1 to validate; a name column of its own, an id2label.json."""
    folder = tmp_path / "set"
    (folder / "data").mkdir(parents=True)
    features = Features({"name": Value("string"), "image": Image(), "mask": Image(), "n": Value("int64")})
    for split, rows in (("train", range(4)), ("validation", range(4, 5))):
        columns = {
            "name": ["same"] * len(rows),
            "image": [Picture.fromarray(IMAGES[i]) for i in rows],
            "mask": [Picture.fromarray(MASKS[i]) for i in rows],
            "n": list(rows),
        }
        Dataset.from_dict(columns, features=features).to_parquet(folder / "data" / f"{split}-00000-of-00001.parquet")
    (folder / "id2label.json").write_text(json.dumps(dict(enumerate(NAMES))))
    return folder


def rewrite(path, **columns):
    """Replace columns of the training split."""
    file = path / "data" / "train-00000-of-00001.parquet"
    rows = Dataset.from_parquet(str(file))
    rows = rows.to_dict() | columns
    text = ("name", "n")
    features = Features({x: Value("string") if x in text else Image() for x in rows})
    rows["n"] = [str(x) for x in rows["n"]]
    Dataset.from_dict(rows, features=features).to_parquet(file)


def same(row, i) -> bool:
    return np.array_equal(row["image"], IMAGES[i]) and np.array_equal(row["label"], MASKS[i])


@pytest.mark.parametrize("streaming", [False, True])
def test_columns_and_names_of_rows_in_another_spelling(path, streaming):
    """As macOS wrote them, asked for as everybody else does."""
    composed, decomposed = (unicodedata.normalize(form, "über") for form in ("NFC", "NFD"))
    images = [encoded(IMAGES[i]) | {"path": f"{decomposed}.png"} for i in range(4)]
    rewrite(path, **{decomposed: images})
    source = DataSource("hub", path=str(path), image_column=composed)
    rows = list(data.load(source, split="train", streaming=streaming))
    assert all(same(row, i) for i, row in enumerate(rows))
    row = {composed: {"path": f"{decomposed}.png", "bytes": b""}, "mask": None}
    assert hub._row(source, row)["name"] == composed


def test_map_style(path):
    """Rows are those that were written, and so are the parts of a split."""
    source = DataSource("hub", path=str(path))
    assert data.label_set(source).names == NAMES
    rows = data.load(source, split="train")
    data.check(rows)
    assert rows.column_names == ["image", "label", "name"]
    assert [row["name"] for row in rows] == [f"train_{i:06d}" for i in range(4)]
    assert all(same(row, i) for i, row in enumerate(rows))
    row = rows[0]
    assert (row["image"].mode, row["label"].mode) == ("RGB", "L")
    assert same(data.load(source, split="validation")[0], 4)
    # parts of splits, as load_dataset spells them
    parts = [data.load(source, split=x) for x in ("train[:75%]", "train[75%:]")]
    assert [len(x) for x in parts] == [3, 1]
    assert same(parts[1][0], 3)


@pytest.mark.slow
def test_streaming(path):
    """Rows are those that were written; a stream that goes on gives the rest of them."""
    source = DataSource("hub", path=str(path))
    rows = data.load(source, split="train", streaming=True)
    assert isinstance(rows, datasets.IterableDataset)
    read = list(rows)
    assert all(set(row) == {"image", "label", "name"} for row in read)
    assert all(same(row, i) for i, row in enumerate(read))
    assert len({row["name"] for row in read}) == 4
    # it goes on where its state says, and shuffles
    iterator = iter(rows)
    next(iterator), next(iterator)
    again = data.load(source, split="train", streaming=True)
    again.load_state_dict(rows.state_dict())
    assert [row["name"] for row in again] == [row["name"] for row in read[2:]]
    shuffled = [row["name"] for row in rows.shuffle(seed=1, buffer_size=4)]
    assert sorted(shuffled) == sorted(row["name"] for row in read)
    with pytest.raises(ValueError, match="streaming works for the dataset 'hub' only"):
        data.load("folder", path, streaming=True)


CARD = """---
configs:
- config_name: main
  data_files: [{split: train, path: data/train-*}, {split: validation, path: data/validation-*}]
dataset_info:
- config_name: main
  features:
  - {name: name, dtype: string}
  - {name: image, dtype: image}
  - {name: mask, dtype: image}
  - {name: n, dtype: int64}
  splits: [{name: train, num_examples: 4, num_bytes: 9}, {name: validation, num_examples: 1, num_bytes: 9}]
---
"""


@pytest.mark.parametrize("config_name", [None, "main"])
def test_a_split_is_had_without_the_others(path, config_name):
    """Who evaluates, or trains from a stream, doesn't want the training split on the disk."""
    if config_name is not None:  # with a card that says how many rows to expect, and of what
        (path / "README.md").write_text(CARD)
    (path / "data" / "train-00000-of-00001.parquet").write_bytes(b"not to be read")
    source = DataSource("hub", path=str(path), config_name=config_name)
    rows = data.load(source, split="validation")
    assert len(rows) == 1
    assert same(rows[0], 4)
    with pytest.raises(data.DataError, match="can't be loaded"):
        data.load(source, split="train")


def test_columns_of_any_name(path):
    """Even with the names swapped."""
    file = path / "data" / "train-00000-of-00001.parquet"
    rows = Dataset.from_parquet(str(file))
    rows.rename_columns({"image": "label", "mask": "image"}).to_parquet(file)
    (path / "data" / "validation-00000-of-00001.parquet").unlink()
    source = DataSource("hub", path=str(path), image_column="label", mask_column="image")
    for streaming in (False, True):
        assert all(same(x, i) for i, x in enumerate(data.load(source, split="train", streaming=streaming)))


@pytest.mark.parametrize("streaming", [False, True])
def test_wrong_columns_splits_and_paths_are_named(path, streaming):
    def load(split="train", **fields):
        return data.load(DataSource(**{"name": "hub", "path": str(path), **fields}), split=split, streaming=streaming)

    with pytest.raises(data.DataError, match=r"mask_column 'truth' doesn't exist, expected .*: \['image', 'mask'\]"):
        load(mask_column="truth")
    with pytest.raises(data.DataError, match="image_column 'n' holds Value, expected one of its columns of images"):
        load(image_column="n")
    with pytest.raises(data.DataError, match="split.*val.*validation"):
        load("val")
    with pytest.raises(data.DataError, match="nowhere/set"):
        load(path="nowhere/set", classes=str(path / "id2label.json"))


def test_classes_of_one_s_own_go_first(path, tmp_path):
    """A file given before classes.json before id2label.json."""
    source = DataSource("hub", path=str(path))
    (path / "classes.json").write_text('["a", "b", "c"]')
    assert data.label_set(source).names == ("a", "b", "c")
    (tmp_path / "mine.json").write_text('["x", "y", "z"]')
    assert data.label_set(DataSource("hub", path=str(path), classes=str(tmp_path / "mine.json"))).names[0] == "x"
    ignoring = DataSource("hub", path=str(path), ignore_ids=[1])
    assert data.label_set(ignoring).names == ("a", "c")
    assert [int(np.asarray(row["label"])[0, 0]) for row in data.load(ignoring)] == [0, 255, 1, 0]


def test_without_classes_they_are_proposed(path, tmp_path):
    (path / "id2label.json").unlink()
    source = DataSource("hub", path=str(path))
    with pytest.raises(data.DataError, match="has no classes.json or id2label.json") as caught:
        data.label_set(source)
    message = str(caught.value)
    assert "id 0: 50.00 % of the pixels, in 2 of 4 masks" in message
    (tmp_path / "mine.json").write_text(message[message.index("\n{") : message.rindex("\n}") + 2])
    own = DataSource("hub", path=str(path), classes=str(tmp_path / "mine.json"))
    assert all(same(row, i) for i, row in enumerate(data.load(own)))


def encoded(pixels, kind="PNG"):
    import io

    file = io.BytesIO()
    Picture.fromarray(pixels).save(file, kind)
    return {"path": None, "bytes": file.getvalue()}


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (encoded(MASKS[0][:5]), "row train_000001: 12x5, but its image is 12x8"),
        (encoded(np.full((8, 12), 9, np.uint8)), r"row train_000001: holds the ids \[9\]"),
        (encoded(MASKS[0], "JPEG"), "row train_000001: a JPEG can't be a mask"),
        (encoded(IMAGES[1]), "row train_000001: the mask has mode RGB"),
        ({"path": None, "bytes": b"<html>"}, "row train_000001: not a readable image"),
    ],
)
def test_typical_mistakes_name_the_row(path, mask, message):
    rewrite(path, mask=[encoded(MASKS[0]), mask, encoded(MASKS[2]), None])
    with pytest.raises(data.DataError, match=f"1 of 4 pairs have a problem:\n  {message}"):
        data.check(data.load(DataSource("hub", path=str(path)), split="train"))


def test_rows_without_a_mask(path):
    rewrite(path, mask=[None] * 4)
    source = DataSource("hub", path=str(path))
    for streaming in (False, True):
        assert [x["label"] for x in data.load(source, split="train", streaming=streaming)] == [None] * 4


def test_images_inside_archives_are_streamed(tmp_path):
    """Where rows point into a zip, as image folders on the Hub do."""
    folder = tmp_path / "set"
    folder.mkdir()
    with zipfile.ZipFile(folder / "train.zip", "w") as file:
        lines = []
        for i in range(3):
            for kind, pixels in (("a", IMAGES[i]), ("b", MASKS[i])):
                file.writestr(f"{kind}{i}.png", encoded(pixels)["bytes"])
            lines.append(json.dumps({"file_name": f"a{i}.png", "mask_file_name": f"b{i}.png"}))
        file.writestr("metadata.jsonl", "\n".join(lines))
    (folder / "classes.json").write_text(json.dumps(NAMES))
    source = DataSource("hub", path=str(folder))
    for streaming in (False, True):
        rows = list(data.load(source, split="train", streaming=streaming))
        assert len(rows) == 3
        assert all(same(x, i) for i, x in enumerate(rows))
