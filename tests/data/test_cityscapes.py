"""Cityscapes, on a tree in the published layout; labels checked against cityscapesscripts."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modeling_ocrnet import data
from modeling_ocrnet.data.labels import IGNORE

CITYSCAPES = data.label_set("cityscapes")


@pytest.fixture
def root(tmp_path):
    """Two train frames and one val frame, 16x32; every id of the label table occurs in the first mask."""
    ids = np.array([x.id for x in CITYSCAPES.labels if x.id >= 0], np.uint8)
    frames = [("train", "aachen", 19), ("train", "bochum", 313), ("val", "lindau", 0)]
    for n, (split, city, frame) in enumerate(frames):
        name = f"{city}_000000_{frame:06d}"
        image = tmp_path / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png"
        mask = tmp_path / "gtFine" / split / city / f"{name}_gtFine_labelIds.png"
        for path in (image, mask):
            path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(n).integers(0, 256, (16, 32, 3), dtype=np.uint8)).save(image)
        Image.fromarray(np.resize(ids, (16, 32))).save(mask)
    return tmp_path


def mask_of(root: Path, split: str = "train") -> Path:
    return sorted(root.glob(f"gtFine/{split}/*/*labelIds.png"))[0]


def test_the_label_table_is_cityscapesscripts():
    official = pytest.importorskip("cityscapesscripts.helpers.labels").labels
    theirs = {
        x.id: (x.name, 255 if x.trainId < 0 else x.trainId, x.color, x.category, x.hasInstances) for x in official
    }
    ours = {x.id: (x.name, x.train_id, x.color, x.category, x.has_instances) for x in CITYSCAPES.labels}
    theirs[-1] = theirs[-1][:3] + ours[-1][3:]  # the licence plate is never drawn
    assert ours == theirs


def test_columns_and_ids(root):
    """Labels against the train ids of cityscapesscripts for the ids in the mask's file."""
    rows = data.load("cityscapes", root, "train")
    assert rows.column_names == ["image", "label", "name"]
    assert rows["name"] == ["aachen_000000_000019", "bochum_000000_000313"]
    row = rows[0]
    assert (row["image"].mode, row["image"].size, row["label"].mode) == ("RGB", (32, 16), "L")
    ids = np.asarray(Image.open(mask_of(root)))
    by_id = {x.id: x.train_id for x in CITYSCAPES.labels}
    np.testing.assert_array_equal(np.asarray(row["label"]), np.vectorize(by_id.get)(ids))
    assert set(np.unique(row["label"])) == {*range(19), IGNORE}
    data.check(rows)


def test_nothing_is_copied_and_files_are_read_when_asked_for(root):
    rows = data.load("cityscapes", root, "train")
    assert rows.with_format(None)[0]["image"] == {
        "path": str(root / "leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png"),
        "bytes": None,
    }
    mask_of(root).unlink()
    assert rows[1]["name"].startswith("bochum")
    with pytest.raises(data.DataError, match="no such file"):
        rows[0]


def test_masks_of_train_ids_are_read_where_only_they_exist(root):
    expected = np.asarray(data.load("cityscapes", root, "val")[0]["label"])
    mask = mask_of(root, "val")
    Image.fromarray(expected).save(str(mask).replace("labelIds", "labelTrainIds"))
    mask.unlink()
    np.testing.assert_array_equal(np.asarray(data.load("cityscapes", root, "val")[0]["label"]), expected)


def test_the_test_split_has_no_labels(root):
    shutil.copytree(root / "leftImg8bit/val", root / "leftImg8bit/test")
    row = data.load("cityscapes", root, "test")[0]
    assert row["label"] is None
    assert row["image"].size == (32, 16)


def coarse(root: Path, split: str, city: str, frame: str, image: np.ndarray) -> None:
    """A pair of the coarse annotations: everything is road (7)."""
    picture = root / "leftImg8bit" / split / city / f"{city}_{frame}_leftImg8bit.png"
    mask = root / "gtCoarse" / split / city / f"{city}_{frame}_gtCoarse_labelIds.png"
    for path in (picture, mask):
        path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(picture)
    Image.fromarray(np.full(image.shape[:2], 7, np.uint8)).save(mask)


def test_coarse_annotations_are_splits(root):
    """Beside the fine ones of the same frames; train_extra comes without the frame that was published black."""
    grey, black = np.full((16, 32, 3), 99, np.uint8), np.zeros((16, 32, 3), np.uint8)
    with pytest.raises(data.DataError, match="gtCoarse/train: no such folder; the split train_coarse needs gtCoarse"):
        data.load("cityscapes", root, "train_coarse")
    for split, city, frame in (
        ("train", "aachen", "000000_000019"),
        ("train", "bochum", "000000_000313"),
        ("val", "lindau", "000000_000000"),
        ("train_extra", "augsburg", "000000_000000"),
        ("train_extra", "troisdorf", "000000_000072"),
    ):
        coarse(root, split, city, frame, grey)
    coarse(root, "train_extra", "troisdorf", "000000_000073", black)
    for split, count in (("train_coarse", 2), ("val_coarse", 1), ("train_extra", 2)):
        rows = data.load("cityscapes", root, split)
        data.check(rows)
        assert len(rows) == count
        assert all(not np.asarray(row["label"]).any() and np.asarray(row["image"]).all() for row in rows)
    assert rows["name"] == ["augsburg_000000_000000", "troisdorf_000000_000072"]
    assert np.asarray(data.load("cityscapes", root, "train")[0]["label"]).any()


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("leftImg8bit", "one folder too deep: give the folder that holds leftImg8bit and gtFine"),
        ("leftImg8bit/train", "one folder too deep"),
        ("..", "one folder too high: give .*root"),
        ("nowhere", r"give the folder that holds leftImg8bit and gtFine \(docs/datasets.md\)"),
    ],
)
def test_wrong_roots_are_explained(root, tmp_path, where, message):
    moved = tmp_path / "parent" / "root"
    moved.mkdir(parents=True)
    for name in ("leftImg8bit", "gtFine"):
        shutil.move(root / name, moved / name)
    with pytest.raises(data.DataError, match=message):
        data.load("cityscapes", (moved / where).resolve(), "train")


def test_an_empty_split_is_named(root):
    for city in (root / "leftImg8bit/train").iterdir():
        shutil.rmtree(city)
    with pytest.raises(data.DataError, match=r"train: holds no \*/\*_leftImg8bit.png"):
        data.load("cityscapes", root, "train")


def test_unknown_names_are_refused(root):
    with pytest.raises(ValueError, match="'citycsapes' is unknown; expected one of .*cityscapes"):
        data.load("citycsapes", root)
    with pytest.raises(ValueError, match="'validation' is unknown; expected one of train, val, test"):
        data.load("cityscapes", root, "validation")


def damage(kind: str, root: Path) -> Path:
    """Break the first training pair in one of the typical ways; returns the file to be named."""
    mask = mask_of(root)
    image = sorted(root.glob("leftImg8bit/train/*/*.png"))[0]
    ids = np.asarray(Image.open(mask))
    match kind:
        case "missing mask":
            mask.unlink()
        case "colours":
            Image.fromarray(CITYSCAPES.palette[ids]).save(mask)
        case "train ids":
            Image.fromarray(np.where(ids < 19, ids, 255).astype(np.uint8)).save(mask)
        case "unknown id":
            Image.fromarray(np.where(ids == 7, 77, ids).astype(np.uint8)).save(mask)
        case "instance ids":
            Image.fromarray(ids.astype(np.uint16) * 1000).save(mask)
        case "other size":
            Image.fromarray(ids[:8]).save(mask)
        case "truncated image":
            data_ = image.read_bytes()
            image.write_bytes(data_[: len(data_) // 2])
            return image
        case "not an image":
            image.write_text("<html>")
            return image
    return mask


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing mask", "there is no such file"),
        ("colours", "mode RGB, expected one channel of ids.*colours"),
        ("train ids", "look like train ids in a file of label ids"),
        ("unknown id", r"holds the ids \[77\]"),
        ("instance ids", "ids from 0 to 33000, expected 0 to 255: are these instance ids"),
        ("other size", "32x8, but its image is 32x16"),
        ("truncated image", "damaged image"),
        ("not an image", "not a readable image"),
    ],
)
def test_typical_mistakes_are_named_before_work_starts(root, kind, message):
    path = damage(kind, root)
    with pytest.raises(data.DataError, match=message) as caught:
        data.check(data.load("cityscapes", root, "train"))
    assert "1 of 2 pairs" in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("kind", ["colours", "train ids", "unknown id", "truncated image"])
def test_every_row_is_checked_as_it_is_read(root, kind):
    path = damage(kind, root)
    with pytest.raises(data.DataError, match=path.name):
        data.load("cityscapes", root, "train")[0]


def test_label_ids_in_a_file_of_train_ids_are_named(root):
    for split in ("train", "val"):
        for mask in root.glob(f"gtFine/{split}/*/*labelIds.png"):
            mask.rename(str(mask).replace("labelIds", "labelTrainIds"))
    with pytest.raises(data.DataError, match="does a file of train ids hold label ids"):
        data.load("cityscapes", root, "train")[0]


def test_street_scenes_are_cityscapes(scenes):
    """They are read, and their polygons are there."""
    rows = data.load("street_scenes", scenes, "train")
    assert len(rows) == 10
    data.check(rows, masks=10)
    polygons = json.loads(next(scenes.glob("gtFine/train/*/*_polygons.json")).read_text())
    assert (polygons["imgHeight"], polygons["imgWidth"]) == (64, 128)
    assert data.label_set("street_scenes") is data.label_set("cityscapes")


def test_street_scenes_are_drawn_where_there_are_none(tmp_path, monkeypatch):
    from modeling_ocrnet.data.datasets import street_scenes

    monkeypatch.setattr(street_scenes, "write_street_scenes", lambda root: real(root, train=2, val=1, size=(32, 64)))
    from street_scenes import write_street_scenes as real

    assert len(data.load("street_scenes", tmp_path / "new", "train")) == 2
    assert len(data.load("street_scenes", tmp_path / "new", "val")) == 1
