"""The stream of samples: complete, reproducible, and the same for any number of processes."""

import multiprocessing
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from modeling_ocrnet import data
from modeling_ocrnet.data.map_style import MicroBatchSampler, TrainingDataset, training_batches
from modeling_ocrnet.data.transforms import TrainingTransform


@pytest.fixture
def stream(scenes):
    transform = TrainingTransform(crop_size=(32, 48), scale=(128, 64))
    return TrainingDataset(data.load("street_scenes", scenes, "train"), transform, seed=3)


def positions(processes: int, start: int = 0, stop: int = 6) -> list[set[int]]:
    """What each step trains on, over all processes."""
    shares = [list(MicroBatchSampler(8, 2, rank, processes, start, stop)) for rank in range(processes)]
    assert len({len(x) for x in shares}) == 1
    steps = 8 // (2 * processes)
    return [
        {p for share in shares for batch in share[u * steps : (u + 1) * steps] for p in batch}
        for u in range(stop - start)
    ]


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_every_step_has_the_same_samples(processes):
    assert positions(processes) == [set(range(8 * u, 8 * u + 8)) for u in range(6)]


def test_a_resumed_run_goes_on_where_it_stopped():
    assert positions(2, start=4) == positions(2)[4:]
    assert (
        len(MicroBatchSampler(8, 2, 0, 2, start=4, stop=6))
        == len(list(MicroBatchSampler(8, 2, 0, 2, start=4, stop=6)))
        == 4
    )


def test_an_epoch_holds_every_image_once(stream):
    epochs = [[stream[p]["name"] for p in range(10 * e, 10 * e + 10)] for e in range(3)]
    assert all(len(set(names)) == 10 for names in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_a_sample_is_a_function_of_its_position(stream, scenes):
    again = TrainingDataset(data.load("street_scenes", scenes, "train"), stream.transform, seed=3)
    other = TrainingDataset(data.load("street_scenes", scenes, "train"), stream.transform, seed=4)
    for p in (17, 3, 17):
        assert torch.equal(stream[p]["pixel_values"], again[p]["pixel_values"])
        assert torch.equal(stream[p]["labels"], again[p]["labels"])
    assert any(stream[p]["name"] != other[p]["name"] for p in range(10))
    # the same image in another epoch is augmented in another way
    first = {stream[p]["name"]: p for p in range(10)}
    later = {stream[p]["name"]: p for p in range(10, 20)}
    assert not any(
        torch.equal(stream[p]["pixel_values"], stream[later[name]]["pixel_values"]) for name, p in first.items()
    )


def test_workers_change_nothing(stream):
    batches = MicroBatchSampler(4, 2, 0, 1, start=1, stop=4)
    alone = list(training_batches(stream, batches, workers=0))
    helped = list(training_batches(stream, batches, workers=2))
    assert [x["names"] for x in alone] == [x["names"] for x in helped]
    for a, b in zip(alone, helped, strict=True):
        assert a["pixel_values"].shape == (2, 3, 32, 48)
        assert torch.equal(a["pixel_values"], b["pixel_values"])
        assert torch.equal(a["labels"], b["labels"])


@pytest.mark.slow
def test_closing_ends_the_workers_whatever_refers_to_them(stream):
    """They ignore SIGTERM, so a process that waits for them at its exit would wait for ever."""
    before = set(multiprocessing.active_children())
    batches = training_batches(stream, MicroBatchSampler(4, 2, 0, 1, start=0, stop=100), workers=2)
    next(batches)
    leaked = batches.gi_frame.f_locals["loaded"]
    assert len(set(multiprocessing.active_children()) - before) == 2
    batches.close()
    assert set(multiprocessing.active_children()) == before
    assert leaked is not None


def test_flips_happen_half_of_the_time(scenes):
    """Through the whole stream: generators of neighbouring positions are independent."""
    transform = TrainingTransform((64, 128), (128, 64), ratio_range=(1, 1), cat_max_ratio=1, photometric=False)
    stream = TrainingDataset(data.load("street_scenes", scenes, "train"), transform, seed=0)
    plain = {row["name"]: np.asarray(row["label"]) for row in stream.dataset}
    samples = [stream[p] for p in range(100)]
    flipped = sum(np.array_equal(plain[x["name"]][:, ::-1], x["labels"].numpy().astype(np.uint8)) for x in samples)
    assert 30 < flipped < 70


def test_what_cannot_be_read_is_skipped(scenes, tmp_path):
    """Its position gets the sample after it in the epoch's order, augmented by the position's own generator."""
    root = tmp_path / "scenes"
    shutil.copytree(scenes, root)
    dataset = data.load("street_scenes", root, "train")
    transform = TrainingTransform(crop_size=(32, 48), scale=(128, 64))
    stream, whole = (TrainingDataset(dataset, transform, seed=3, skip=skip) for skip in (True, False))
    before = [whole[p]["name"] for p in range(20)]
    paths = {row["name"]: row["image"]["path"] for row in dataset.with_format(None)}
    for position in (3, 4):
        Path(paths[before[position]]).write_bytes(b"nothing")
    with pytest.raises(data.DataError, match=rf"{paths[before[3]]}: not a readable image"):
        whole[3]
    after = [stream[p] for p in range(20)]
    assert [x["name"] for x in after[:6]] == [*before[:3], before[5], before[5], before[5]]
    assert [len(x["skipped"]) for x in after[:6]] == [0, 0, 0, 2, 1, 0]
    assert paths[before[3]] in after[3]["skipped"][0]
    assert sum(len(x["skipped"]) > 0 for x in after[10:]) == 2
    assert not torch.equal(after[3]["pixel_values"], after[5]["pixel_values"])
    assert torch.equal(after[3]["pixel_values"], stream[3]["pixel_values"])
    for path in paths.values():
        Path(path).write_bytes(b"nothing")
    with pytest.raises(data.DataError):
        stream[3]


def test_the_check_tolerates_what_is_skipped(scenes, tmp_path):
    root = tmp_path / "scenes"
    shutil.copytree(scenes, root)
    dataset = data.load("street_scenes", root, "train")
    images = [row["image"]["path"] for row in dataset.with_format(None)]
    Path(images[0]).write_bytes(b"nothing")
    with pytest.raises(data.DataError, match="1 of 10 pairs have a problem"):
        data.check(dataset)
    data.check(dataset, tolerate=True)
    for image in images[1:]:
        Path(image).write_bytes(b"nothing")
    with pytest.raises(data.DataError, match="10 of 10 pairs have a problem"):
        data.check(dataset, tolerate=True)
