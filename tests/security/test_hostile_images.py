"""Damaged and hostile images and masks, through everything that reads images."""

import io
from functools import partial

import pytest
from helpers.corrupt_files import IMAGES, MASKS, MATS, png
from PIL import Image

from modeling_ocrnet import data
from modeling_ocrnet.data.decoding import DataError, read_image, read_mask
from modeling_ocrnet.data.numpy_rows import NumpyRows

SMALL = ("--schedule.max_steps", "1", "--data.crop_size", "[32,32]", "--global_batch", "2", "--micro_batch", "2")
TRAIN = (*SMALL, "--mixed_precision", "no", "--model.backbone", "null", "--data.workers", "0")


def _library(call) -> str:
    with pytest.raises(DataError) as refused:
        call()
    return str(refused.value)


def check(root, script, checkpoint):
    return _library(lambda: data.check(data.load("camvid", root, "val")))


def rows(root, script, checkpoint):
    return _library(lambda: data.load("camvid", root, "val")[0])


def frames(root, script, checkpoint):
    return _library(lambda: NumpyRows(data.load("camvid", root, "val"))[0])


def inspect(root, script, checkpoint):
    return script("prepare_data", "inspect", "camvid", "--root", root, "--workers", "1", code=(1,))


def export(root, script, checkpoint):
    return script("prepare_data", "export", "camvid", "exported", "--root", root, "--store", "raw", code=(1,))


def evaluate(root, script, checkpoint):
    return script("evaluate", checkpoint, "--name", "camvid", "--root", root, "--workers", "0", code=(1,))


def train(root, script, checkpoint):
    where = ("--data.name", "camvid", "--data.root", root, "--output", "run")
    return script("train", *where, *TRAIN, code=(1,))


ENTRIES = [check, rows, frames, inspect, export, evaluate, train]
for_defects = partial(pytest.mark.parametrize, "defect", ids=lambda x: x.name)
for_entries = pytest.mark.parametrize("entry", ENTRIES, ids=lambda x: x.__name__)


@for_entries
@for_defects(IMAGES)
def test_an_image_is_refused_by_name(entry, defect, camvid, place, script, checkpoint):
    defect.write(camvid / "val" / "bad.png", place.canary)
    place.begin()
    said = entry(camvid, script, checkpoint)
    assert f"{camvid}/val/bad.png: " in said
    assert "good.png" not in said


@pytest.mark.parametrize(
    ("entry", "defect"),
    [(x, y) for x in ENTRIES for y in MASKS],
    ids=lambda x: getattr(x, "__name__", None) or x.name,
)
def test_a_mask_is_refused_by_name(entry, defect, camvid, place, script, checkpoint):
    defect.write(camvid / "valannot" / "bad.png", place.canary)
    place.begin()
    said = entry(camvid, script, checkpoint)
    assert f"{camvid}/valannot/bad.png: " in said
    assert "good.png" not in said


@for_defects([x for x in IMAGES if x.name != "folder"])
def test_predict_names_the_bad_one_and_segments_the_others(defect, place, script, checkpoint):
    defect.write(place.input / "bad.png", place.canary)
    for name in ("good.png", "well.png"):
        (place.input / name).write_bytes(png())
    place.begin()
    said = script("predict", checkpoint, place.input, "--output", "results", "--batch_size", "2", code=(1,))
    assert f"{place.input}/bad.png: " in said
    written = sorted(x.name for x in (place.output / "results").iterdir())
    assert written == [f"{x}_{kind}.png" for x in ("good", "well") for kind in ("ids", "mask", "overlay")]


@for_defects(IMAGES)
def test_predict_of_the_file_itself(defect, place, script, checkpoint):
    path = defect.write(place.input / "bad.png", place.canary)
    place.begin()
    assert str(path) in script("predict", checkpoint, path, "--output", "results", code=(1,))
    assert not (place.output / "results").exists()


@for_defects(MATS)
def test_a_mat_file_is_refused_by_name(defect, place):
    path = defect.write(place.input / "bad.mat", place.canary)
    place.begin()
    with pytest.raises(DataError, match=r"bad\.mat: "):
        read_mask({"path": str(path), "bytes": None}, data.label_set("coco_stuff_10k"))


@pytest.mark.parametrize(
    "address",
    ["reference://x::file:///tmp/refs.json", "simplecache::http://127.0.0.1:1/x.png", "nonsense://x.png", "ssh://h/x"],
)
def test_addresses_in_rows_are_those_of_images(address, place):
    """A Parquet file's rows may name any address: fsspec would follow instructions, keep copies, log in."""
    place.begin()
    with pytest.raises(DataError, match="images aren't read from such an address"):
        read_image({"path": address, "bytes": None})


def test_a_damaged_image_in_a_worker_is_still_one_line(camvid, place, script, checkpoint, monkeypatch):
    """Past the sample that is checked, a loader's worker finds it, and its traceback would be the message."""
    (camvid / "val" / "bad.png").write_bytes(png(pixels=b"nonsense"))
    check = data.check
    monkeypatch.setattr(data, "check", lambda rows: check(rows.select([1, 2])))  # not the first, which is bad
    place.begin()
    said = script("evaluate", checkpoint, "--name", "camvid", "--root", camvid, "--workers", "1", code=(1,))
    assert said.startswith(f"evaluate.py: {camvid}/val/bad.png: a damaged image")
    assert "\n" not in said


def test_the_defects_are_defects(place):
    """The same writers without a lie give files that Pillow reads."""
    place.begin()
    assert Image.open(io.BytesIO(png())).size == (16, 12)
    assert len({x.mechanism for x in IMAGES}) == len(IMAGES)
