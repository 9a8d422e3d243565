"""Exports: read back by `datasets`, resumed, verified, refused, pushed."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from datasets import load_dataset
from helpers.hub_on_loopback import WRITER, hub_of_this_process
from PIL import Image

from modeling_ocrnet import data
from modeling_ocrnet.data.map_style import TrainingDataset
from modeling_ocrnet.data.transforms import TrainingTransform
from modeling_ocrnet.hub.folder import HubError
from modeling_ocrnet.preparation.export_dataset import export
from modeling_ocrnet.preparation.shards import plan_shards

ROOT = Path(__file__).parents[2]


@pytest.fixture
def noise(tmp_path):
    """Cityscapes frames of noise: a megabyte and more each, so that there are several shards."""
    root, rng = tmp_path / "noise", np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 1)):
        for i in range(count):
            image = root / "leftImg8bit" / split / "city" / f"city_{i:06d}_000019_leftImg8bit.png"
            mask = root / "gtFine" / split / "city" / f"city_{i:06d}_000019_gtFine_labelIds.png"
            for path in (image, mask):
                path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (520, 700, 3), dtype=np.uint8)).save(image, compress_level=0)
            Image.fromarray(rng.integers(0, 34, (520, 700), dtype=np.uint8)).save(mask, compress_level=1)
    return root


def contents(folder: Path) -> dict[str, str]:
    files = (x for x in folder.rglob("*") if x.is_file())
    return {str(x.relative_to(folder)): hashlib.sha256(x.read_bytes()).hexdigest() for x in files}


def test_datasets_streams_it_losslessly(noise, tmp_path):
    folder = export("cityscapes", str(tmp_path / "out"), str(noise), shard_mb=2)
    files = sorted(x.name for x in (folder / "data").iterdir())
    assert files[0] == "train-00000-of-00002.parquet"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["complete"]
    assert sum(x["rows"] for x in manifest["files"].values()) == 5
    for name, entry in manifest["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == entry["sha256"]
    rows = load_dataset("parquet", data_files=str(folder / "data" / "train-*"), split="train", streaming=True)
    ours = data.load("cityscapes", noise, "train")
    for row, expected, source in zip(rows, ours, ours.with_format(None), strict=True):
        assert row["name"] == expected["name"]
        np.testing.assert_array_equal(np.asarray(row["image"]), np.asarray(expected["image"]))
        np.testing.assert_array_equal(np.asarray(row["label"]), np.asarray(expected["label"]))
        assert row["label"].mode == "L"
        assert Path(source["image"]["path"]).name.startswith(row["name"])
    raw = load_dataset("parquet", data_files=str(folder / "data" / "train-*"), split="train", streaming=True)
    stored = next(iter(raw.decode(False)))["image"]["bytes"]
    assert stored == Path(ours.with_format(None)[0]["image"]["path"]).read_bytes()


def test_the_folder_loads_by_its_card(noise, tmp_path):
    """Splits and features come from the card's head, as for a repository on the Hub."""
    folder = export("cityscapes", str(tmp_path / "out"), str(noise))
    rows = load_dataset(str(folder), split="val", streaming=True)
    assert [x["name"] for x in rows] == ["city_000000_000019"]
    card = (folder / "README.md").read_text()
    head = yaml.safe_load(card.split("---")[1])
    assert head["task_categories"] == ["image-segmentation"]
    assert head["license"] == "other"
    assert head["license_name"] == "cityscapes"
    assert "| 13 | car | 0, 0, 142 |" in card
    names = json.loads((folder / "id2label.json").read_text())
    assert names["13"] == "car"
    assert len(names) == 19


@pytest.mark.slow
@pytest.mark.parametrize("store", ["parquet", "raw"])
def test_killed_in_the_middle_it_goes_on(noise, tmp_path, store):
    whole = contents(export("cityscapes", str(tmp_path / "whole"), str(noise), store=store, shard_mb=2))
    given = {"root": str(noise), "store": store, "shard_mb": 2, "output": str(tmp_path / "cut")}
    process = subprocess.Popen(
        [sys.executable, "-c", SLOWLY.format(given=given)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    manifest = tmp_path / "cut" / "manifest.json"
    until = time.monotonic() + 60
    while not (manifest.is_file() and json.loads(manifest.read_text())["files"]):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not json.loads(manifest.read_text())["complete"]
    first = next(iter(json.loads(manifest.read_text())["files"]))
    before = (tmp_path / "cut" / first).stat().st_mtime_ns
    export("cityscapes", str(tmp_path / "cut"), str(noise), store=store, shard_mb=2)
    if store == "parquet":  # a raw shard is two files, and may have had one of them
        assert (tmp_path / "cut" / first).stat().st_mtime_ns == before
    assert contents(tmp_path / "cut") == whole


# the export, with a pause after each row: time to be killed in
SLOWLY = """
import time
import modeling_ocrnet.preparation.shards as shards
rows = shards._rows
shards._rows = lambda *given: (time.sleep(0.4) or row for row in rows(*given))
from modeling_ocrnet.hub.folder import HubError
from modeling_ocrnet.preparation.export_dataset import export
export("cityscapes", **{given!r})
"""


def test_a_damaged_shard_is_written_again(noise, tmp_path):
    folder = export("cityscapes", str(tmp_path / "out"), str(noise), shard_mb=2)
    before = contents(folder)
    shard = folder / "data" / "train-00001-of-00002.parquet"
    content = bytearray(shard.read_bytes())
    content[1000] ^= 255
    shard.write_bytes(content)
    export("cityscapes", str(folder), str(noise), shard_mb=2)
    assert contents(folder) == before


def test_another_source_or_other_arguments_are_refused(noise, tmp_path):
    folder = export("cityscapes", str(tmp_path / "out"), str(noise), "val")
    with pytest.raises(data.DataError, match="out: was exported with store .*raw"):
        export("cityscapes", str(folder), str(noise), "val", store="raw")
    mask = next(noise.glob("gtFine/val/*/*labelIds.png"))
    Image.new("L", (700, 520), 7).save(mask)
    with pytest.raises(data.DataError, match="was exported with source"):
        export("cityscapes", str(folder), str(noise), "val")
    with pytest.raises(data.DataError, match="holds files, but no manifest.json"):
        export("cityscapes", str(noise), str(noise), "val")


def test_shards_are_planned_by_size():
    shards = plan_shards("train", [4, 4, 4, 30, 1, 1], 10)
    assert [(x.start, x.stop) for x in shards] == [(0, 3), (3, 4), (4, 6)]
    assert shards[-1].name == "data/train-00002-of-00003"


def test_the_memory_mapped_store_gives_the_same_samples(scenes, tmp_path):
    """Bit for bit, over three epochs of every augmentation."""
    store = export("street_scenes", str(tmp_path / "raw"), str(scenes), store="raw", shard_mb=1)
    transform = TrainingTransform((32, 48), (128, 64))
    files, raw = (TrainingDataset(data.load("street_scenes", x, "train"), transform, seed=5) for x in (scenes, store))
    for position in range(30):
        a, b = files[position], raw[position]
        assert a["name"] == b["name"]
        assert a["pixel_values"].numpy().tobytes() == b["pixel_values"].numpy().tobytes()
        assert a["labels"].numpy().tobytes() == b["labels"].numpy().tobytes()


def test_the_memory_mapped_store_reads_as_any_dataset(scenes, tmp_path):
    store = export("street_scenes", str(tmp_path / "raw"), str(scenes), store="raw")
    for split in ("train", "val"):
        rows, expected = data.load("street_scenes", store, split), data.load("street_scenes", scenes, split)
        data.check(rows)
        assert rows["name"] == expected["name"]
        for a, b in zip(rows, expected, strict=True):
            assert (a["image"].tobytes(), a["label"].tobytes()) == (b["image"].tobytes(), b["label"].tobytes())


def test_what_is_wrong_with_a_store_is_said(scenes, noise, tmp_path):
    store = export("street_scenes", str(tmp_path / "raw"), str(scenes), store="raw")
    with pytest.raises(data.DataError, match="holds street_scenes, not cityscapes"):
        data.load("cityscapes", store, "train")
    with pytest.raises(ValueError, match="expected one of train, val"):
        data.load("street_scenes", store, "test")
    file = next(store.glob("data/train-*.raw"))
    os.truncate(file, 100)
    with pytest.raises(data.DataError, match=f"{file.name}: is missing or isn't"):
        data.load("street_scenes", store, "train")
    parquet = export("cityscapes", str(tmp_path / "out"), str(noise), "val")
    with pytest.raises(data.DataError, match="a Parquet export.*--store raw"):
        data.load("cityscapes", parquet, "val")
    shutil.rmtree(parquet)


@pytest.fixture
def hub(monkeypatch):
    with hub_of_this_process(monkeypatch, WRITER) as hub:
        yield hub


def test_a_push_holds_the_whole_export(scenes, tmp_path, hub):
    folder = export("street_scenes", str(tmp_path / "out"), str(scenes), push="me/scenes")
    uploaded = hub.repositories["me/scenes"].files
    assert set(uploaded) - {".gitattributes"} == set(contents(folder))
    assert not hub.repositories["me/scenes"].private
    for name, content in uploaded.items():
        assert name == ".gitattributes" or content == (folder / name).read_bytes()


def test_a_second_push_leaves_no_shard_of_the_first(noise, tmp_path, hub):
    """Both would match the card's patterns, and rows be read twice."""
    options = {"root": str(noise), "push": "me/frames", "private": True}
    export("cityscapes", str(tmp_path / "small"), shard_mb=2, **options)
    again = export("cityscapes", str(tmp_path / "large"), **options)
    shards = {name for name in hub.repositories["me/frames"].files if name.endswith(".parquet")}
    assert shards == {name for name in contents(again) if name.endswith(".parquet")}


def test_a_repository_of_other_files_is_left_alone(scenes, tmp_path, hub):
    export("street_scenes", str(tmp_path / "out"), str(scenes), push="me/scenes")
    del hub.repositories["me/scenes"].files["manifest.json"]
    with pytest.raises(HubError, match="me/scenes holds files that aren't part of an export"):
        export("street_scenes", str(tmp_path / "out"), str(scenes), push="me/scenes")


def test_data_that_may_not_be_passed_on_goes_private_or_not_at_all(noise, tmp_path, hub):
    with pytest.raises(ValueError, match="terms forbid redistribution: add --private true"):
        export("cityscapes", str(tmp_path / "out"), str(noise), push="me/frames")
    assert hub.repositories == {}
    assert not (tmp_path / "out").exists()
    export("cityscapes", str(tmp_path / "out"), str(noise), push="me/frames", private=True)
    assert hub.repositories["me/frames"].private
    with pytest.raises(ValueError, match="terms aren't known"):
        export("lip", str(tmp_path / "lip"), str(noise), push="me/lip")


def test_nobody_logged_in_is_said_before_the_work(scenes, tmp_path, hub, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("modeling_ocrnet.hub.push.get_token", lambda: None)
    with pytest.raises(HubError, match="no token for the Hub was found"):
        export("street_scenes", str(tmp_path / "out"), str(scenes), push="me/scenes")
    assert not (tmp_path / "out").exists()
