"""Exports of others: memory-mapped stores whose index lies, manifests, and Parquet files that point elsewhere."""

import json
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from helpers.corrupt_files import DEEP, MASK, png
from pyarrow import parquet

from modeling_ocrnet import data
from modeling_ocrnet.data.decoding import DataError
from modeling_ocrnet.data.source import DataSource
from modeling_ocrnet.preparation.manifest import Manifest


@pytest.fixture
def store(place):
    """A sound memory-mapped store of one pair, as `export --store raw` writes it."""
    (place.input / "data").mkdir()
    (place.input / "data" / "val-00000-of-00001.raw").write_bytes(bytes(2 * 2 * 4))
    write_store(place.input)
    return place.input


def write_store(root: Path, rows=(["x", 0, 2, 2, True],), files: dict | None = None, **fields) -> None:
    index = root / "data" / "val-00000-of-00001.json"
    index.write_text(rows if isinstance(rows, str) else json.dumps(rows))
    sizes = {f"data/{x.name}": {"bytes": x.stat().st_size} for x in sorted((root / "data").iterdir())}
    content = {"store": "raw", "dataset": "camvid", "complete": True, "splits": {"val": 1}, "files": files or sizes}
    (root / "manifest.json").write_text(json.dumps({**content, **fields}))


def test_a_sound_store_is_read(store, place):
    place.begin()
    assert np.asarray(data.load("camvid", store, "val")[0]["image"]).shape == (2, 2, 3)


@pytest.mark.parametrize(
    "row",
    [
        ["../../precious", 0, 2, 2, True],
        ["x", 8, 2, 2, True],
        ["x", -4, 2, 2, True],
        ["x", 0, 10**9, 10**9, True],
        ["x", 0, 0, 0, True],
        ["x", 0, -2, -2, True],
        ["x", "0:9x9#", 2, 2, True],
        ["x", 0, 2.0, 2, True],
        [["x"], 0, 2, 2, True],
        ["x", 0, 2],
        7,
    ],
    ids=str,
)
def test_a_store_whose_index_lies(row, store, place, script, checkpoint):
    """Arrays are mapped where the index says: behind the end of the file there is nothing."""
    write_store(store, [row])
    place.begin()
    with pytest.raises(DataError):
        data.load("camvid", store, "val")
    script("evaluate", checkpoint, "--name", "camvid", "--root", store, "--save_predictions", "a/b/c", code=(1,))


@pytest.mark.parametrize(
    "fields",
    [
        {"files": {"data/val-/../../../precious.json": {"bytes": 11}}},
        {"files": {"/etc/passwd": {"bytes": 1}}},
        {"files": {"data/val-00000-of-00001.raw": 7}},
        {"files": [1]},
        {"splits": 7},
        {"splits": None},
    ],
    ids=str,
)
def test_a_manifest_that_lies(fields, store, place):
    write_store(store, **fields)
    place.begin()
    with pytest.raises(DataError, match=r"manifest\.json: "):
        data.load("camvid", store, "val")


@pytest.mark.parametrize("rows", ["", "{", DEEP.decode()], ids=["empty", "cut", "deep"])
def test_an_index_that_isnt_json(rows, store, place):
    write_store(store, rows)
    place.begin()
    with pytest.raises(DataError, match=r"val-00000-of-00001\.json: "):
        data.load("camvid", store, "val")


@pytest.mark.parametrize(
    "content", ['{"files": [1]}', '{"files": {"x": 7}}', '{"files": {"x": {}}}', "[]", DEEP.decode(), "{"],
    ids=["list", "number", "bare", "array", "deep", "cut"],
)  # fmt: skip
def test_an_export_over_a_strange_manifest(content, place):
    (place.output / "manifest.json").write_text(content)
    place.begin()
    with pytest.raises(DataError, match=r"manifest\.json: not a manifest"):
        Manifest(place.output, {})


def parquet_folder(root: Path, rows: list[dict], metadata: str | None = None) -> None:
    image = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})
    schema = pyarrow.schema({"image": image, "label": image})
    features = {x: {"_type": "Image"} for x in ("image", "label")}
    held = metadata or json.dumps({"info": {"features": features}})
    table = pyarrow.Table.from_pylist(rows, schema.with_metadata({"huggingface": held}))
    parquet.write_table(table, root / "train.parquet")


PARQUETS = {
    "device": [{"image": {"path": "/dev/zero"}, "label": {"bytes": MASK}}],
    "address": [{"image": {"path": "reference://a::file:///tmp/x.json"}, "label": {"bytes": MASK}}],
    "mat": [{"image": {"bytes": png()}, "label": {"path": "/dev/zero.mat"}}],
    "store": [{"image": {"path": "x.raw#0:9x9x3"}, "label": {"bytes": MASK}}],
    "postscript": [
        {"image": {"bytes": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"}, "label": {"bytes": MASK}}
    ],
    "nothing": [{"image": {}, "label": {"bytes": MASK}}],
}


@pytest.mark.parametrize("streaming", [False, True], ids=["map", "stream"])
@pytest.mark.parametrize("rows", PARQUETS.values(), ids=PARQUETS)
def test_a_parquet_file_whose_rows_point_elsewhere(rows, streaming, own, place):
    parquet_folder(own, rows)
    place.begin()
    source = DataSource("hub", path=str(own), mask_column="label")
    with pytest.raises(DataError):
        next(iter(data.load(source, split="train", streaming=streaming)))


@pytest.mark.parametrize("streaming", [False, True], ids=["map", "stream"])
@pytest.mark.parametrize("kind", ["cut", "empty", "web_page", "features", "script"])
def test_a_parquet_folder_that_isnt_one(kind, streaming, own, place):
    parquet_folder(own, [{"image": {"bytes": png()}, "label": {"bytes": MASK}}])
    file = own / "train.parquet"
    if kind == "features":  # `datasets` looks classes up by the name that stands there
        evil = {"_type": "Popen", "args": ["touch", str(place.canary)]}
        parquet_folder(own, [], json.dumps({"info": {"features": {"image": evil, "label": evil}}}))
    elif kind == "script":  # of older versions, which ran it
        file.unlink()
        (own / "a.png").unlink()
        (own / "mask.png").unlink()
        (own / f"{own.name}.py").write_text(f"open({str(place.canary)!r}, 'w')")
    else:
        file.write_bytes({"cut": file.read_bytes()[:200], "empty": b"", "web_page": b"<!DOCTYPE html>"}[kind])
    place.begin()
    source = DataSource("hub", path=str(own), mask_column="label")
    with pytest.raises(DataError):
        next(iter(data.load(source, split="train", streaming=streaming)))
