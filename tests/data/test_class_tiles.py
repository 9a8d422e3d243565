"""Where classes lie: NVIDIA's centroids, every pixel in a tile, and a cache that can't be out of date."""

import json
import logging
import os
from pathlib import Path

import datasets
import numpy as np
import pytest
from helpers.own_data import NAMES, classes, pair, source, write
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file

from modeling_ocrnet import data
from modeling_ocrnet.data import class_tiles, class_tiles_cache
from modeling_ocrnet.data.class_tiles import Tiling, class_points, read_class_points
from modeling_ocrnet.data.class_tiles_cache import cache_file, find_class_tiles
from modeling_ocrnet.preparation.export_dataset import export

FIXTURE = Path(__file__).parents[1] / "fixtures/nvidia_class_uniform.safetensors"
MASK = np.zeros((20, 30), np.uint8)
MASK[18:, 26:], MASK[0, 0] = 2, 255


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Two pairs, and an empty cache."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "own"
    for name in "ab":
        write(folder / f"images/train/{name}.jpg", np.full((*MASK.shape, 3), 77, np.uint8))
        write(folder / f"masks/train/{name}.png", MASK)
    classes(folder)
    return folder


@pytest.fixture
def reads(monkeypatch):
    """How often all masks are read."""
    calls = []

    def read(*args):
        calls.append(args)
        return read_class_points(*args)

    monkeypatch.setattr(class_tiles_cache, "read_class_points", read)
    return calls


def train(root, **fields):
    return data.load(source(root, **fields), split="train")


@pytest.mark.parametrize("kind", ["plain", "mapped"])
def test_the_centroids_are_nvidias(kind):
    """Of one mask by its ids, and by train ids of which some are ignored."""
    expected = load_file(FIXTURE)
    mask = expected["mask"]
    if kind == "mapped":
        table = np.arange(256, dtype=np.uint8)
        for index, train_id in {0: 255, 1: 0, 2: 1, 3: 1, 4: 2, 5: 3, 9: 4}.items():
            table[index] = train_id
        mask = table[mask]
    with safe_open(FIXTURE, "np") as file:
        assert "tile 32, 6 classes" in json.loads(file.metadata()["note"])
    height, width = (size // 32 * 32 for size in mask.shape)  # the original drops what lies beyond
    assert class_points(mask[:height, :width], 6, 32).tolist() == expected[f"centroids.{kind}"].tolist()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("side", [16, 31, 1000])
def test_every_pixel_is_in_a_tile(dtype, side):
    """Against the mean of the pixels' places."""
    rng = np.random.default_rng(0)
    mask = rng.integers(0, 5, (67, 45)).astype(dtype)
    mask[rng.random(mask.shape) < 0.5] = np.iinfo(dtype).max
    expected = []
    for index in range(5):
        ys, xs = np.nonzero(mask == index)
        tiles = ys // side * 1000 + xs // side
        for tile in np.unique(tiles):
            here = tiles == tile
            expected.append([index, int(xs[here].mean()), int(ys[here].mean())])
    assert class_points(mask, 5, side).tolist() == expected


@pytest.mark.parametrize(
    ("size", "side"),
    [((1024, 2048), 512), ((512, 1024), 256), ((1080, 1920), 540), ((48, 64), 24), ((20000, 10000), 5000)],
)
def test_a_tile_is_what_a_crop_covers(size, side):
    """At the size that the resize by 1 gives, whatever the image's own is."""
    assert Tiling(None, (512, 1024), (2048, 1024)).side_for(size) == side
    assert Tiling(100, (512, 1024), (2048, 1024)).side_for(size) == 100
    assert Tiling().side_for(size) == max(size)


def test_a_small_image_has_points(root):
    tiles = find_class_tiles(train(root), Tiling(1024))
    assert tiles.table.tolist() == [[0, 0, 14, 9], [0, 1, 14, 9], [2, 0, 27, 18], [2, 1, 27, 18]]
    assert tiles.counts.tolist() == [2, 0, 2]
    assert tiles.starts.tolist() == [0, 2, 2, 4]


def test_masks_are_read_once(root, reads):
    first = find_class_tiles(train(root), Tiling(16))
    again = find_class_tiles(train(root), Tiling(16))
    assert len(reads) == 1
    assert isinstance(again.table, np.memmap)
    assert np.array_equal(first.table, again.table)
    assert first.digest == again.digest
    content = cache_file(train(root), Tiling(16)).read_bytes()
    assert os.fsencode(root) not in content


def changed_mask(root):
    MASK_2 = MASK.copy()
    MASK_2[5, 5] = 1
    write(root / "masks/train/b.png", MASK_2)


def touched_mask(root):
    """Other content of the same length."""
    file = root / "masks/train/b.png"
    os.utime(file, ns=(1, 1))


def another_pair(root):
    pair(root, "images/train/c.jpg", "masks/train/c.png")


def other_names(root):
    classes(root, ["road", "car", "tree"])


def other_ids(root):
    classes(root, {"classes": [{"name": x, "id": i} for x, i in zip(NAMES, (2, 1, 0), strict=True)]})


@pytest.mark.parametrize("change", [changed_mask, touched_mask, another_pair, other_names, other_ids])
def test_changed_data_are_read_again(change, root, reads):
    before = find_class_tiles(train(root), Tiling(16))
    change(root)
    after = find_class_tiles(train(root), Tiling(16))
    assert len(reads) == 2
    assert np.array_equal(after.table, read_class_points(train(root), Tiling(16)))
    assert (before.digest == after.digest) == (change in (touched_mask, other_names))


def test_another_tile_is_another_result(root, reads):
    assert find_class_tiles(train(root), Tiling(16)).digest != find_class_tiles(train(root), Tiling(20)).digest
    assert len(reads) == 2


@pytest.mark.parametrize("damage", ["half", "empty", "bit", "text", "folder"])
def test_a_damaged_cache_is_made_again(damage, root, reads, caplog):
    whole = find_class_tiles(train(root), Tiling(16))
    expected, digest = np.array(whole.table), whole.digest
    file = cache_file(train(root), Tiling(16))
    content = bytearray(file.read_bytes())
    content[-40] ^= 1  # in the last row
    file.unlink()
    if damage == "folder":
        file.mkdir()
    else:
        file.write_bytes({"half": content[: len(content) // 2], "empty": b"", "bit": content, "text": b"?"}[damage])
    again = find_class_tiles(train(root), Tiling(16))
    assert len(reads) == 2
    assert np.array_equal(again.table, expected)
    assert again.digest == digest
    find_class_tiles(train(root), Tiling(16))
    assert len(reads) == (3 if damage == "folder" else 2)
    assert ("can't be cached" in caplog.text) == (damage == "folder")


def test_a_cache_that_cannot_be_written_only_warns(root, reads, caplog, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "file")
    assert len(find_class_tiles(train(root), Tiling(16)).table)
    assert [x.levelno for x in caplog.records if "can't be cached" in x.message] == [logging.WARNING]


def test_a_mask_that_cannot_be_read(root, reads, caplog):
    """It is named, or left out and remembered, but never forgotten."""
    (root / "masks/train/a.png").write_bytes(b"nothing")
    for _ in range(2):
        with pytest.raises(data.DataError, match=r"masks/train/a\.png"):
            find_class_tiles(train(root), Tiling(16))
        tiles = find_class_tiles(train(root), Tiling(16), tolerate=True)
        assert tiles.unread == 1
        assert tiles.table[0].tolist() == [-1, 0, 0, 0]
        assert set(tiles.table[1:, 1].tolist()) == {1}
        assert tiles.counts.sum() == len(tiles.table) - 1
    assert len(reads) == 3
    assert "1 of 2 masks can't be read" in caplog.text
    assert (
        f"1 masks couldn't be read before. If they can be now, delete {cache_file(train(root), Tiling(16))}"
        in caplog.text
    )


def test_an_export_and_a_table_have_the_same_points(scenes, tmp_path, reads, monkeypatch):
    """A memory-mapped store, Parquet as a Hub dataset, and a table in memory; each is read once."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    files = data.load("street_scenes", str(scenes), "train")
    store = export("street_scenes", str(tmp_path / "raw"), str(scenes), store="raw")
    parquet = export("street_scenes", str(tmp_path / "parquet"), str(scenes))
    stored = data.load("street_scenes", str(store), "train")
    hub = data.load(data.DataSource("hub", path=str(parquet), mask_column="label"), split="train")
    undecoded = hub.with_format(None)
    memory = datasets.Dataset.from_dict(undecoded.to_dict(), features=undecoded.features)
    memory = memory.with_transform(hub.format["format_kwargs"]["transform"])
    found = [find_class_tiles(x, Tiling(32)) for x in (files, stored, hub, memory)]
    assert len({x.digest for x in found}) == 1
    assert len(reads) == 4
    assert len({cache_file(x, Tiling(32)) for x in (files, stored, hub, memory)}) == 4
    assert [find_class_tiles(x, Tiling(32)).digest for x in (files, stored, hub, memory)] == [found[0].digest] * 4
    assert len(reads) == 4
    # a part, in another order, is other data
    part = hub.select([2, 1])
    assert find_class_tiles(part, Tiling(32)).digest != found[0].digest
    other = undecoded.to_dict()
    other["label"][0] = other["label"][1]
    changed = datasets.Dataset.from_dict(other, features=undecoded.features)
    changed = changed.with_transform(hub.format["format_kwargs"]["transform"])
    assert find_class_tiles(changed, Tiling(32)).digest != found[0].digest
    (raw,) = (store / "data").glob("train-*.raw")
    os.utime(raw, ns=(1, 1))
    before = len(reads)
    find_class_tiles(stored, Tiling(32))
    assert len(reads) == before + 1


def test_masks_are_read_in_parts(root, monkeypatch):
    """As many at a time as there is memory for."""
    whole = read_class_points(train(root), Tiling(16))
    monkeypatch.setattr(class_tiles, "IN_FLIGHT", 1)
    assert np.array_equal(read_class_points(train(root), Tiling(16)), whole)


def test_masks_by_colour(root):
    """Their points are those of the classes, not of values in the files."""
    colours = [(1, 2, 3), (4, 5, 6), (7, 8, 9)]
    content = [{"name": x, "color": list(y)} for x, y in zip(NAMES, colours, strict=True)]
    expected = find_class_tiles(train(root), Tiling(16)).table.tolist()
    classes(root, {"classes": content, "ignore_colors": [[0, 0, 0]]})
    drawn = np.array([*colours, (0, 0, 0)], np.uint8)[np.where(MASK == 255, 3, MASK)]
    for name in "ab":
        write(root / f"masks/train/{name}.png", Image.fromarray(drawn))
    assert find_class_tiles(train(root), Tiling(16)).table.tolist() == expected
