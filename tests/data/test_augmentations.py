"""Augmentations by a recipe's list: what is refused, what they leave alone, and that samples are functions of (seed,
position)."""

import pickle
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from datasets import Dataset, Features, Image, Value, config, load_dataset

from modeling_ocrnet import data
from modeling_ocrnet.common.errors import UserError
from modeling_ocrnet.data.augmentations import AUGMENTATIONS, augment, for_classes, read_augmentations
from modeling_ocrnet.data.decoding import Decode
from modeling_ocrnet.data.iterable_style import streamed_batches
from modeling_ocrnet.data.map_style import MicroBatchSampler, TrainingDataset, training_batches
from modeling_ocrnet.data.normalization import MEAN, Normalization
from modeling_ocrnet.data.transforms import TrainingTransform

NAMED = ["traffic light", "traffic sign", "person", "pole"]
ENTRIES = [
    {"name": name, "probability": 0.7, **({"classes": NAMED, "min_pixels": 4} if name == "paste" else {})}
    for name in ("paste", *(x for x in AUGMENTATIONS if x != "paste"))
]
LABELS = data.label_set("street_scenes")
FILL = (124, 116, 104)


def always(name):
    fields = {"classes": ["person"], "min_pixels": 1} if name == "paste" else {}
    return for_classes(read_augmentations([{"name": name, "probability": 1, **fields}]), LABELS)


def transform(entries=ENTRIES, **fields):
    augmentations = for_classes(read_augmentations(entries), LABELS)
    return TrainingTransform((48, 64), (128, 64), flip_pairs=((11, 12),), augmentations=augmentations, **fields)


@pytest.fixture
def stream(scenes):
    return TrainingDataset(data.load("street_scenes", scenes, "train"), transform(), seed=3)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ("rotate", "is 'rotate', expected a list such as [{name: rotate"),
        ({"rotate": {"degrees": 10}}, "expected a list such as"),
        (["rotate"], "has 'rotate', expected entries with names"),
        ([[{"name": "rotate"}], [{"name": "grey"}]], "has [{'name': 'rotate'}], expected entries with names"),
        ([{"degrees": 10}], "has {'degrees': 10}, an entry without a name"),
        ([{"name": None}], "the name None, which is none: there are rotate, blur"),
        ([{"name": "rotat"}], "did you mean rotate?"),
        ([{"name": "grayscale"}], "did you mean grey?"),
        ([{"name": "Gaussian-Blur"}], "did you mean blur?"),
        ([{"name": "solarize"}], "there are rotate, blur, noise, jpeg, clahe, grey, cutout, paste"),
        ([{"name": "rotate", "p": 0.5}], "rotate has no p; it takes probability, degrees"),
        ([{"name": "paste", "classes": ["a"], "ids": [1]}], "paste has no ids"),
        ([{"name": "grey"}, {"name": "blur"}, {"name": "grey"}], "has {'name': 'grey'} twice"),
        (
            [{"name": "rotate", "probability": 50}],
            "probability of rotate is 50, expected a number from 0 to 1 (a share",
        ),
        ([{"name": "rotate", "probability": -0.1}], "probability of rotate is -0.1"),
        ([{"name": "rotate", "probability": True}], "probability of rotate is True"),
        ([{"name": "rotate", "probability": None}], "probability of rotate is None"),
        ([{"name": "rotate", "degrees": 0.1}], "degrees of rotate is 0.1, expected a number from 1 to 180 (degrees of"),
        ([{"name": "rotate", "degrees": [-10, 10]}], "degrees of rotate is [-10, 10], expected a number"),
        ([{"name": "rotate", "degrees": "10"}], "degrees of rotate is '10', expected a number"),
        ([{"name": "rotate", "degrees": float("nan")}], "degrees of rotate is nan"),
        ([{"name": "blur", "sigma": 0}], "sigma of blur is 0"),
        ([{"name": "noise", "sigma": 0.05}], "sigma of noise is 0.05, expected a number from 1 to 128 (the noise's"),
        ([{"name": "jpeg", "quality": 0.5}], "quality of jpeg is 0.5, expected a whole number from 1 to 95"),
        ([{"name": "jpeg", "quality": 100}], "quality of jpeg is 100"),
        ([{"name": "clahe", "clip_limit": 0.01}], "clip_limit of clahe is 0.01"),
        ([{"name": "clahe", "tiles": [8, 8]}], "tiles of clahe is [8, 8], expected a whole number"),
        ([{"name": "cutout", "size": 64}], "size of cutout is 64, expected a number from 0.01 to 0.75 (a share"),
        ([{"name": "cutout", "holes": 1.5}], "holes of cutout is 1.5, expected a whole number"),
        ([{"name": "cutout", "labels": "zero"}], "labels of cutout is 'zero', expected ignore or keep"),
        ([{"name": "paste"}], "paste needs classes, a list of names"),
        ([{"name": "paste", "classes": "pole"}], "classes of paste is 'pole', expected a list of names"),
        ([{"name": "paste", "classes": []}], "classes of paste is []"),
        ([{"name": "paste", "classes": [5]}], "classes of paste is [5]"),
        ([{"name": "paste", "classes": ["pole", "pole"]}], "expected a list of names of classes, each once"),
        ([{"name": "paste", "classes": ["caf\xe9", "cafe\u0301"]}], "expected a list of names of classes, each once"),
        (
            [{"name": "paste", "classes": ["pole"], "max_size": 0.1}],
            "max_size of paste is 0.1, expected a whole number",
        ),
        ([{"name": "paste", "classes": ["pole"], "max_size": 3}], "min_pixels of paste is 16, more than an object of"),
    ],
)
def test_what_cannot_be_meant_is_refused(entries, said):
    with pytest.raises(UserError) as refused:
        read_augmentations(entries)
    message = str(refused.value)
    assert message.startswith("data.augmentations")
    assert said in message
    assert "\n" not in message


def test_values_at_the_edge_are_taken():
    for entry in (
        {"name": "rotate", "degrees": 180, "probability": 1},
        {"name": "rotate", "degrees": 1, "probability": 0},
        {"name": "jpeg", "quality": 95},
        {"name": "cutout", "size": 0.75, "labels": "keep"},
        {"name": "paste", "classes": ["pole"], "max_size": 4, "min_pixels": 16},
    ):
        (found,) = read_augmentations([entry])
        assert {key: getattr(found, key) for key in entry if key not in ("name", "classes")}.items() <= entry.items()
    twice = [{"name": "paste", "classes": ["pole"]}, {"name": "paste", "classes": ["person"]}]
    assert len(read_augmentations(twice)) == 2


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (3, 90), (70, 40)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_any_size_and_nothing_labelled(name, size, dtype):
    """Windows are smaller than the crop if the image is; arrays of a memory-mapped store can't be written to."""
    rng = np.random.default_rng(1)
    image, label = rng.integers(0, 256, (*size, 3), np.uint8), np.full(size, np.iinfo(dtype).max, dtype)
    image.flags.writeable = label.flags.writeable = False
    found, ids = augment(always(name), image, label, rng, FILL)
    assert (found.shape, found.dtype) == (image.shape, np.uint8)
    assert np.array_equal(ids, label)
    assert ids.dtype == dtype


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_given_arrays_are_left_alone_and_results_apply(name):
    rng = np.random.default_rng(2)
    image, label = rng.integers(0, 256, (60, 80, 3), np.uint8), np.zeros((60, 80), np.uint8)
    label[20:30, 20:26] = LABELS.names.index("person")
    before = image.copy(), label.copy()
    found, ids = augment(always(name), image, label, rng, FILL)
    assert np.array_equal(image, before[0])
    assert np.array_equal(label, before[1])
    assert not np.array_equal(found, image)
    if name in ("blur", "noise", "jpeg", "clahe", "grey"):
        assert np.array_equal(ids, label)
    else:
        assert not np.array_equal(ids, label)


def test_each_comes_with_its_probability():
    image, label = np.full((4, 4, 3), (200, 10, 10), np.uint8), np.zeros((4, 4), np.uint8)
    rng = np.random.default_rng(0)
    for probability in (0, 0.25, 1):
        grey = read_augmentations([{"name": "grey", "probability": probability}])
        share = np.mean([augment(grey, image, label, rng, FILL)[0][0, 0, 1] != 10 for _ in range(2000)])
        assert abs(share - probability) < (0.04 if 0 < probability < 1 else 1e-9)


def test_they_come_in_the_list_s_order():
    """Noise after grey has colours; grey after noise has none."""
    image, label = np.full((40, 40, 3), 128, np.uint8), np.zeros((40, 40), np.uint8)
    entries = [{"name": "noise", "probability": 1}, {"name": "grey", "probability": 1}]
    spread = []
    for listed in (entries, entries[::-1]):
        found, _ = augment(read_augmentations(listed), image, label, np.random.default_rng(0), FILL)
        spread.append(np.ptp(found.astype(int), axis=2).max())
    assert spread[0] == 0
    assert spread[1] > 0


def test_without_any_a_sample_is_what_it_was(scenes):
    """And those of pixels alone change neither crop nor labels: they draw after everything else."""
    dataset = data.load("street_scenes", scenes, "train")
    given = TrainingTransform((48, 64), (128, 64), flip_pairs=((11, 12),))
    plain, none = (TrainingDataset(dataset, x, 3) for x in (given, transform([])))
    noisy = TrainingDataset(dataset, transform([{"name": "noise", "probability": 1}]), 3)
    for p in range(6):
        assert torch.equal(plain[p]["labels"], noisy[p]["labels"])
        assert torch.equal(plain[p]["pixel_values"], none[p]["pixel_values"])
        assert not torch.equal(plain[p]["pixel_values"], noisy[p]["pixel_values"])


def test_a_sample_is_a_function_of_its_position(stream, scenes):
    """The generators of all others are left alone."""
    others = torch.get_rng_state(), pickle.dumps(np.random.get_state())
    first = [stream[p] for p in range(6)]
    assert torch.equal(torch.get_rng_state(), others[0])
    assert pickle.dumps(np.random.get_state()) == others[1]
    again = pickle.loads(pickle.dumps(stream))  # as a worker that is spawned gets it
    for p in (5, 0, 3):
        assert torch.equal(again[p]["pixel_values"], first[p]["pixel_values"])
        assert torch.equal(again[p]["labels"], first[p]["labels"])


@pytest.mark.slow
def test_another_process_with_more_threads_makes_the_same_samples(stream):
    first = [stream[p] for p in range(6)]
    code = (
        "import pickle, sys, torch; torch.set_num_threads(2); stream = pickle.loads(sys.stdin.buffer.read());"
        "sys.stdout.buffer.write(pickle.dumps([{k: v.numpy() for k, v in stream[p].items() if k in "
        "('labels', 'pixel_values')} for p in range(6)]))"
    )
    done = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(stream), capture_output=True, check=True)
    for a, b in zip(first, pickle.loads(done.stdout), strict=True):
        assert np.array_equal(a["pixel_values"], b["pixel_values"])
        assert np.array_equal(a["labels"], b["labels"])


def test_threads_change_no_large_crop():
    """Large enough for torch to divide its work."""
    rng = np.random.default_rng(0)
    image, label = rng.integers(0, 256, (300, 500, 3), np.uint8), rng.integers(0, 19, (300, 500)).astype(np.uint8)
    threads, found = torch.get_num_threads(), []
    for count in (1, 2):
        torch.set_num_threads(count)
        try:
            rng = np.random.default_rng(3)
            found.append([augment(always(name), image, label, rng, FILL) for name in AUGMENTATIONS])
        finally:
            torch.set_num_threads(threads)
    for a, b in zip(*found, strict=True):
        assert np.array_equal(a[0], b[0])
        assert np.array_equal(a[1], b[1])


def test_workers_and_processes_change_nothing(stream):
    batches = {
        (workers, rank, processes): list(
            training_batches(stream, MicroBatchSampler(4, 2, rank, processes, start=1, stop=3), workers)
        )
        for workers, rank, processes in ((0, 0, 1), (2, 0, 1), (0, 0, 2), (0, 1, 2))
    }
    alone = batches[0, 0, 1]
    both = [x for pair in zip(batches[0, 0, 2], batches[0, 1, 2], strict=True) for x in pair]
    for other in (batches[2, 0, 1], both):
        assert len(other) == len(alone)
        for a, b in zip(alone, other, strict=True):
            assert torch.equal(a["pixel_values"], b["pixel_values"])
            assert torch.equal(a["labels"], b["labels"])


def test_streams_have_them_and_go_on_where_they_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(config, "SLEEP_TIME_ON_THREADS_SHUTDOWN", 0.1, raising=False)
    rng = np.random.default_rng(0)

    def png(pixels):
        return {"bytes": cv2.imencode(".png", pixels)[1].tobytes(), "path": None}

    rows = {
        "image": [png(rng.integers(0, 256, (64, 96, 3), np.uint8)) for _ in range(8)],
        "label": [png(rng.integers(0, 4, (64, 96), np.uint8)) for _ in range(8)],
        "name": [str(i) for i in range(8)],
    }
    features = Features(image=Image(decode=False), label=Image(decode=False), name=Value("string"))
    Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "train.parquet")
    files = str(tmp_path / "train.parquet")
    read = load_dataset("parquet", data_files=files, split="train", streaming=True, cache_dir=str(tmp_path))
    for column in ("image", "label"):
        read = read.cast_column(column, Image(decode=False))
    decode = Decode(data.label_set("camvid"))

    def batches(entries, count, **options):
        defaults = {"seed": 1, "buffer_size": 3, "micro_batch": 2, "workers": 0, "rank": 0, "processes": 1}
        made = streamed_batches(read, decode, transform(entries), **defaults | options)
        try:
            return [next(made) for _ in range(count)]
        finally:
            made.close()

    for workers in (0, 1):
        whole, plain = batches(ENTRIES, 6, workers=workers), batches([], 6, workers=workers)
        resumed = batches(ENTRIES, 3, workers=workers, start=[whole[2]["position"]], taken=3)
        for a, b in zip(whole[3:], resumed, strict=True):
            assert a["names"] == b["names"]
            assert torch.equal(a["pixel_values"], b["pixel_values"])
            assert torch.equal(a["labels"], b["labels"])
        assert [x["names"] for x in whole] == [x["names"] for x in plain]
        assert not any(torch.equal(a["pixel_values"], b["pixel_values"]) for a, b in zip(whole, plain, strict=True))


def test_the_mean_s_colour_becomes_zero():
    """Also of networks that read blue first, and of those that subtract nothing."""
    color = np.array(Normalization().zero, np.uint8)
    assert np.abs(color - np.array(MEAN)).max() <= 0.5
    for normalization in (Normalization(), Normalization(bgr=True), Normalization((127.5,) * 3, (127.5,) * 3)):
        pixels = normalization(np.full((1, 1, 3), normalization.zero, np.uint8))
        assert np.abs(pixels * np.array(normalization.std)[:, None, None]).max() <= 0.501
    assert Normalization((0.0,) * 3, (1.0,) * 3).zero == (0, 0, 0)
    assert Normalization((-5.0, 300.0, 10.0), (1.0,) * 3).zero == (0, 255, 10)


@pytest.mark.parametrize(
    "normalization", [Normalization(), Normalization(bgr=True), Normalization((0.5,) * 3, (0.2,) * 3)]
)
def test_a_normalisation_can_be_undone(normalization):
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    assert np.array_equal(normalization.undo(normalization(image)), image)
