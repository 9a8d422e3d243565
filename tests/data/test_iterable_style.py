"""Training from streams: every sample once an epoch, whoever reads, and resumed where it stopped."""

import io
from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch
from datasets import Dataset, Features, Image, Value, config, load_dataset
from PIL import Image as PILImage

from modeling_ocrnet import data
from modeling_ocrnet.data.decoding import Decode
from modeling_ocrnet.data.iterable_style import streamed_batches
from modeling_ocrnet.data.transforms import TrainingTransform

SHARDS, ROWS = 4, 6  # rows a shard: 24 samples
NAMES = {f"{shard}-{row}" for shard in range(SHARDS) for row in range(ROWS)}


def png(pixels: np.ndarray) -> dict:
    file = io.BytesIO()
    PILImage.fromarray(pixels).save(file, "png")
    return {"bytes": file.getvalue(), "path": None}


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch):
    """`datasets` sleeps for five seconds at the end of each Parquet stream."""
    monkeypatch.setattr(config, "SLEEP_TIME_ON_THREADS_SHUTDOWN", 0.1, raising=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Parquet shards, as `load_dataset` streams them."""
    folder, rng = tmp_path_factory.mktemp("shards"), np.random.default_rng(0)
    features = Features(image=Image(decode=False), label=Image(decode=False), name=Value("string"))
    for shard in range(SHARDS):
        rows = {
            "image": [png(rng.integers(0, 256, (12, 16, 3), np.uint8)) for _ in range(ROWS)],
            "label": [png(rng.integers(0, 2, (12, 16), np.uint8)) for _ in range(ROWS)],
            "name": [f"{shard}-{row}" for row in range(ROWS)],
        }
        Dataset.from_dict(rows, features=features).to_parquet(folder / f"train-{shard}.parquet")
    return folder


@pytest.fixture
def rows(folder, tmp_path):
    files = str(folder / "*.parquet")
    stream = load_dataset("parquet", data_files=files, split="train", streaming=True, cache_dir=str(tmp_path))
    return stream.cast_column("image", Image(decode=False)).cast_column("label", Image(decode=False))


def batches(rows, count: int, **options):
    defaults = {"seed": 1, "buffer_size": 5, "micro_batch": 2, "workers": 0, "rank": 0, "processes": 1}
    transform = TrainingTransform(crop_size=(8, 8), scale=(16, 12))
    decode = Decode(data.label_set("camvid"))
    return list(islice(streamed_batches(rows, decode, transform, **defaults | options), count))


def names(batches) -> list[str]:
    return [name for batch in batches for name in batch["names"]]


@pytest.mark.parametrize(("processes", "workers"), [(1, 0), (1, 2), (2, 0), (3, 0)])
def test_an_epoch_has_every_sample_once(rows, processes, workers):
    """Also where the shards don't divide among the workers (3)."""
    epochs = [[], []]
    for rank in range(processes):
        own = batches(rows, 48 // (2 * processes), rank=rank, processes=processes, workers=workers)
        epochs[0] += names(own[: len(own) // 2])
        epochs[1] += names(own[len(own) // 2 :])
    assert Counter(epochs[0]) == Counter(epochs[1]) == dict.fromkeys(NAMES, 1)
    assert epochs[0] != epochs[1]


def test_nobody_reads_for_all(rows):
    """Two processes: each has shards of its own."""
    shards = [{name[0] for name in names(batches(rows, 6, rank=rank, processes=2))} for rank in range(2)]
    assert all(len(x) == 2 for x in shards)
    assert shards[0] | shards[1] == {"0", "1", "2", "3"}


def test_shards_that_do_not_divide_are_told(rows, caplog):
    batches(rows, 1, processes=3)
    assert "4 shards don't divide evenly among 3 workers" in caplog.text


def test_samples_are_mixed_within_the_buffer(rows):
    order = names(batches(rows, 12))
    assert [name[0] for name in order] != sorted(name[0] for name in order)
    assert order != names(batches(rows, 12, seed=2))
    assert order == names(batches(rows, 12))


@pytest.mark.parametrize(("workers", "stop"), [(0, 5), (0, 12), (2, 5), (2, 17)])
def test_a_resumed_run_goes_on_where_it_stopped(rows, workers, stop):
    """Samples and augmentations, within an epoch and over its end (12 batches)."""
    whole = batches(rows, stop + 8, workers=workers)
    start = [(0, 0)] * max(1, workers)
    for batch in whole[:stop]:
        start[batch["worker"]] = batch["position"]
    resumed = batches(rows, 8, workers=workers, start=start, taken=stop)
    assert names(resumed) == names(whole[stop:])
    for ours, theirs in zip(resumed, whole[stop:], strict=True):
        assert torch.equal(ours["pixel_values"], theirs["pixel_values"])
        assert torch.equal(ours["labels"], theirs["labels"])


def test_a_mask_of_another_size_is_named(rows):
    """Nobody reads a stream's headers before: it must not be stretched over its image."""
    wrong = rows.map(lambda row: {"label": png(np.zeros((6, 8), np.uint8))} if row["name"] == "2-3" else {})
    with pytest.raises(data.DataError, match="row 2-3: 8x6, but its image is 16x12: export it at the image's size"):
        batches(wrong, 12)


def test_a_worker_without_rows_is_an_error(rows):
    with pytest.raises(data.DataError, match="share of the dataset is empty"):
        batches(rows, 1, rank=24, processes=25)


def test_what_cannot_be_read_is_left_out(rows):
    """Its epoch is shorter, the positions go on counting it, and a run resumed after it goes on alike."""

    def spoil(row):
        return {**row, "image": {"bytes": b"nothing", "path": None}} if row["name"] in ("1-2", "3-0") else row

    spoilt = rows.map(spoil, features=rows.features)
    with pytest.raises(data.DataError, match="row (1-2|3-0): not a readable image"):
        batches(spoilt, 12)
    found = batches(spoilt, 22, skip=True)  # two epochs
    names = [name for batch in found for name in batch["names"]]
    assert Counter(names) == dict.fromkeys(NAMES - {"1-2", "3-0"}, 2)
    assert Counter(x.split(":")[0] for batch in found for x in batch["skipped"]) == {"row 1-2": 2, "row 3-0": 2}
    after = next(i for i, batch in enumerate(found) if batch["skipped"])
    resumed = batches(spoilt, 22 - after - 1, skip=True, start=[found[after]["position"]], taken=after + 1)
    assert [x["names"] for x in resumed] == [x["names"] for x in found[after + 1 :]]
    assert all(
        torch.equal(a["pixel_values"], b["pixel_values"]) for a, b in zip(resumed, found[after + 1 :], strict=True)
    )
