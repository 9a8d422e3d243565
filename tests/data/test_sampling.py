"""Orders of samples: NVIDIA's shares, no class lost, nothing more often than allowed, functions of seed and epoch."""

import json
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file

from modeling_ocrnet import data
from modeling_ocrnet.data.class_tiles import ClassTiles, Tiling
from modeling_ocrnet.data.class_tiles_cache import find_class_tiles
from modeling_ocrnet.data.map_style import TrainingDataset
from modeling_ocrnet.data.numpy_rows import NumpyRows
from modeling_ocrnet.data.sampling import ClassUniform, RepeatFactor, Shuffle, repeat_factors
from modeling_ocrnet.data.transforms import ResizedLabel, TrainingTransform, choose_crop, rescaled_point, rescaled_size

FIXTURE = Path(__file__).parents[1] / "fixtures/nvidia_class_uniform.safetensors"


def tiles_of(*counts: int, rows: int = 103) -> ClassTiles:
    """So many points of each class, each in another place."""
    table = [(index, i % rows, 10 * i, index) for index, count in enumerate(counts) for i in range(count)]
    return ClassTiles(np.array(table, np.int32).reshape(-1, 4), len(counts), "digest")


def kinds(order: ClassUniform, epoch: int) -> np.ndarray:
    """The class that each sample of an epoch is drawn for; -1 for images at random."""
    items = order.items(epoch)
    points = np.maximum(items - order.rows, 0)
    return np.where(items < order.rows, -1, order.tiles.table[points, 0])


def test_an_epochs_shares_are_nvidias():
    """But for the class without points: its samples are images at random, where NVIDIA's epoch gets shorter."""
    expected = load_file(FIXTURE)
    with safe_open(FIXTURE, "np") as file:
        assert "103 pictures, 6 classes with 3, 50, 1, 0, 8, 20 centroids, fraction 0.5" in json.loads(
            file.metadata()["note"]
        )
    order = ClassUniform(tiles_of(3, 50, 1, 0, 8, 20), 103, seed=0, share=0.5, max_repeats=8)
    theirs, ours = Counter(expected["epoch.kinds"].tolist()), Counter(kinds(order, 0).tolist())
    assert 3 not in theirs
    assert ours == theirs + Counter({-1: 103 - len(expected["epoch.kinds"])})
    for kind in theirs:
        # how many things come once, twice, ...: all alike
        points = order.items(0)[kinds(order, 0) == kind]
        often = Counter(Counter(expected["epoch.items"][expected["epoch.kinds"] == kind].tolist()).values())
        found = Counter(Counter(points.tolist()).values())
        assert found == (often if kind >= 0 else Counter({1: ours[-1]}))


def test_epochs_differ_and_depend_on_the_seed_alone():
    tiles = tiles_of(3, 50, 1, 0, 8, 20)
    factors = np.linspace(1, 3, 103)
    for make in (lambda seed: ClassUniform(tiles, 103, seed), lambda seed: RepeatFactor(factors, seed)):
        later = make(1).items(7)
        order = make(1)
        first = order.items(0)
        assert np.array_equal(order.items(7), later)
        assert np.array_equal(pickle.loads(pickle.dumps(order)).items(7), later)
        assert not np.array_equal(first, later)
        assert sorted(first) != sorted(later)
        assert not np.array_equal(make(2).items(7), later)
        assert len(first) == len(later) == order.length


def test_a_class_of_one_tile_does_not_fill_an_epoch():
    order = ClassUniform(tiles_of(1, 2000, 3, rows=1000), 1000, seed=0, share=0.9, max_repeats=10)
    for epoch in range(3):
        found = Counter(kinds(order, epoch).tolist())
        assert found == {0: 10, 1: 300, 2: 30, -1: 660}
        assert max(Counter(order.items(epoch).tolist()).values()) == 10


@pytest.mark.parametrize(("rows", "classes", "share"), [(1, 2, 0.5), (30, 171, 0.5), (5, 3, 0.01), (7, 7, 1.0)])
def test_few_images_of_many_classes(rows, classes, share):
    """Each class has a sample in every epoch, however few there are; images come evenly."""
    order = ClassUniform(tiles_of(*[4] * classes, rows=rows), rows, seed=0, share=share)
    assert order.length % rows == 0
    assert order.length - rows < classes / share
    found = Counter(kinds(order, 0).tolist())
    assert {found[x] for x in range(classes)} == {order.drawn[0]}
    assert order.drawn[0] >= 1
    assert sum(order.drawn.values()) <= order.length * share < sum(order.drawn.values()) + classes
    images = Counter(order.items(0)[kinds(order, 0) < 0].tolist())
    counts = [images[x] for x in range(rows)]
    assert max(counts) - min(counts) <= 1


def test_classes_that_are_named_share_what_there_is():
    order = ClassUniform(tiles_of(30, 40, 50), 100, seed=0, share=0.3, chosen=(2, 0))
    assert Counter(kinds(order, 0).tolist()) == {2: 15, 0: 15, -1: 70}


def test_an_item_is_a_row_and_a_point():
    order = ClassUniform(tiles_of(3, 50, rows=20), 20, seed=0)
    assert order.where(19) == (19, None)
    assert order.where(20) == (0, (0, 0))
    assert order.where(20 + 3 + 41) == (1, (410, 1))
    assert Shuffle(20, 0).where(4) == RepeatFactor(np.ones(20), 0).where(4) == (4, None)


def test_repeat_factors_are_those_of_lvis():
    """Against its formula, by hand: of 100 images, 50, 4 and 1 hold a class."""
    rows = {0: range(50), 1: range(48, 52), 2: [51]}
    table = [(index, row, 0, 0) for index, held in rows.items() for row in held]
    tiles = ClassTiles(np.array(table, np.int32), 4, "digest")
    factors = repeat_factors(tiles, 100, threshold=0.16, max_repeats=3)
    assert factors.tolist() == pytest.approx([1] * 48 + [2] * 3 + [3] + [1] * 48)
    assert repeat_factors(tiles, 100, 0.16, 10)[51] == 4
    assert repeat_factors(tiles, 100, 0.16, 10, chosen=(1,)).tolist() == pytest.approx([1] * 48 + [2] * 4 + [1] * 48)
    # several tiles of an image count once
    twice = ClassTiles(np.repeat(tiles.table, 2, axis=0), 4, "digest")
    assert repeat_factors(twice, 100, 0.16, 3).tolist() == factors.tolist()


def test_images_come_as_often_as_their_factors():
    """Up or down to a whole number in each epoch, right on average, and all epochs of one length."""
    rng = np.random.default_rng(0)
    factors = np.concatenate([np.ones(30), rng.uniform(1, 4, 20), [2.0, 3.0]])
    order = RepeatFactor(factors, seed=5)
    epochs = np.array([np.bincount(order.items(e), minlength=len(factors)) for e in range(2000)])
    assert set(epochs.sum(axis=1)) == {order.length} == {int(np.ceil(factors.sum()))}
    filler = order.length - factors.sum()  # one of those that came least
    assert (epochs >= np.floor(factors)).all()
    assert ((epochs > np.ceil(factors)).sum(axis=1) <= 1).all()
    assert epochs.mean(axis=0)[30:50] == pytest.approx(factors[30:50], abs=0.05)
    assert epochs.mean(axis=0)[:30].sum() == pytest.approx(30 + filler, abs=0.1)
    assert epochs[:, 51].max() == 3


def test_equal_fractions_are_not_drawn_together():
    """Two images at 1.5 come 3 times in an epoch; which of them comes twice is even."""
    twice = [np.bincount(RepeatFactor(np.array([1.5, 1.5]), seed=0).items(e))[0] == 2 for e in range(400)]
    assert 0.4 < np.mean(twice) < 0.6


@pytest.fixture
def stream(scenes):
    return stream_of(data.load("street_scenes", scenes, "train"))


def stream_of(dataset, **options) -> TrainingDataset:
    transform = TrainingTransform((32, 32), (128, 64))
    tiles = find_class_tiles(dataset, Tiling(None, transform.crop_size, transform.scale))
    return TrainingDataset(dataset, transform, 3, order=ClassUniform(tiles, len(dataset), 3), **options)


def test_a_sample_is_a_function_of_its_position(stream, scenes):
    """In the middle of an epoch, in any order, and in a worker."""
    again = stream_of(data.load("street_scenes", scenes, "train"))
    worker = pickle.loads(pickle.dumps(stream))
    for position in (23, 3, 40, 23):
        a, b, c = (x[position] for x in (stream, again, worker))
        assert a["name"] == b["name"] == c["name"]
        assert torch.equal(a["pixel_values"], b["pixel_values"])
        assert torch.equal(a["labels"], c["labels"])


def test_an_unread_image_gives_way_to_the_next_sample(stream, scenes, monkeypatch):
    """Whose point is used too, not that of the one it replaces."""
    items = stream.order.items(0)
    names = stream.dataset["name"][:]
    position = next(i for i in range(9) if items[i] >= 10 and items[i + 1] >= 10)
    bad, good = (stream.order.where(int(items[i])) for i in (position, position + 1))
    assert bad[0] != good[0]
    tolerant = stream_of(data.load("street_scenes", scenes, "train"), skip=True)
    read = NumpyRows.__getitem__

    def fail(rows, index):
        if index == bad[0]:
            raise data.DataError("damaged")
        return read(rows, index)

    monkeypatch.setattr(NumpyRows, "__getitem__", fail)
    seen = []
    monkeypatch.setattr(TrainingTransform, "__call__", lambda *x: seen.append(x[-1]) or (np.zeros(1), np.zeros(1)))
    sample = tolerant[position]
    assert (sample["name"], sample["skipped"], seen) == (names[good[0]], ["damaged"], [good[1]])


@pytest.mark.parametrize("size", [(40, 60), (300, 200), (8, 500)])
def test_a_crop_holds_its_focus(size):
    """A single pixel, at any place, under resizes; also if the crop is larger than the image."""
    rng = np.random.default_rng(0)
    inside = (size[1] // 3, size[0] // 2)
    edges = set()
    for point in ((0, 0), (size[1] - 1, size[0] - 1), inside):
        for _ in range(200):
            to = rescaled_size(size, (300, 200), rng.uniform(0.5, 2))
            x, y = rescaled_point(point, size, to)
            assert 0 <= x < to[1]
            assert 0 <= y < to[0]
            (top, left), window = choose_crop(ResizedLabel(np.zeros(size, np.uint8), to), (64, 96), 1, rng, (x, y))
            assert 0 <= y - top < window.shape[0]
            assert 0 <= x - left < window.shape[1]
            assert window.shape == (min(64, to[0]), min(96, to[1]))
            if point == inside:
                edges.add((y - top, x - left))
    assert len(edges) > 100


def test_crops_around_a_point_are_spread_as_nvidias():
    """Their edges are even from one crop before the point to the point; near a corner, most are moved into it."""
    rng, label = np.random.default_rng(0), np.zeros((100, 1000), np.uint8)
    lefts = np.array([choose_crop(label, (10, 50), 1, rng, (500, 50))[0][1] for _ in range(5000)])
    assert (lefts.min(), lefts.max()) == (451, 500)
    assert Counter(lefts // 10 * 10)[460] == pytest.approx(1000, abs=150)
    corner = [choose_crop(label, (10, 50), 1, rng, (9, 0))[0][1] for _ in range(5000)]
    assert np.mean(np.array(corner) == 0) == pytest.approx(41 / 50, abs=0.03)


def test_crops_for_a_class_hold_it(scenes):
    """Nearly always, though a centroid may lie outside the class's pixels; elsewhere in its images often not."""
    dataset = data.load("street_scenes", scenes, "train")
    crop, scale = (32, 32), (128, 64)
    tiles, rows = find_class_tiles(dataset, Tiling(None, crop, scale)), NumpyRows(dataset)
    maps, rng = [rows[i][1] for i in range(len(dataset))], np.random.default_rng(0)
    held: dict[bool, list[bool]] = {True: [], False: []}
    for index, row, x, y in np.repeat(tiles.table, 4, axis=0).tolist():
        for focused in held:
            size = rescaled_size(maps[row].shape, scale, rng.uniform(0.5, 2))
            focus = rescaled_point((x, y), maps[row].shape, size) if focused else None
            _, window = choose_crop(ResizedLabel(maps[row], size), crop, 0.75, rng, focus)
            held[focused].append(bool((window == index).any()))
    assert np.mean(held[True]) > 0.98
    assert np.mean(held[False]) < 0.85
