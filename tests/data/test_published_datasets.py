"""Every published dataset on a small tree in the layout and the encodings in which the dataset is distributed."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from modeling_ocrnet import data

SIZE = (12, 18)  # height, width of the masks


def image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZE[::-1], (10, 20, 30)).save(path)


def ids(*values) -> np.ndarray:
    """A mask whose first row begins with these ids, and holds the first of them elsewhere."""
    mask = np.full(SIZE, values[0], np.uint8)
    mask[0, : len(values)] = values
    return mask


def png(path, mask):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(path)


def palette_png(path, mask):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(mask, mode="P")
    picture.putpalette(np.random.default_rng(0).integers(0, 256, 768).astype(np.uint8).tobytes())
    picture.save(path)


def text(path, *names):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(names) + "\n")


def ade20k(root):
    for split, n in (("training", 3), ("validation", 2)):
        for i in range(n):
            image(root / "images" / split / f"ADE_{i:08d}.jpg")
            png(root / "annotations" / split / f"ADE_{i:08d}.png", ids(1, 0, 150))


def lip(root):
    for split, n in (("train", 3), ("val", 2)):
        for i in range(n):
            image(root / "TrainVal_images" / f"{split}_images" / f"{i}.jpg")
            png(root / "TrainVal_parsing_annotations" / f"{split}_segmentations" / f"{i}.png", ids(0, 14, 19))


def pascal_voc(root):
    names = {"train": ["2007_01", "2007_02", "2007_03"], "val": ["2007_04", "2007_05"]}
    for split, found in names.items():
        text(root / "ImageSets" / "Segmentation" / f"{split}.txt", *found)
        for name in found:
            image(root / "JPEGImages" / f"{name}.jpg")
            palette_png(root / "SegmentationClass" / f"{name}.png", ids(0, 255, 20))


def pascal_context(root):
    for split, found in {"train": ["2008_01", "2008_02", "2008_03"], "val": ["2008_04", "2008_05"]}.items():
        text(root / "ImageSets" / "SegmentationContext" / f"{split}.txt", *found)
        for name in found:
            image(root / "JPEGImages" / f"{name}.jpg")
            png(root / "SegmentationClassContext" / f"{name}.png", ids(1, 0, 59))


def coco_stuff_10k(root):
    for split, found in {"train": ["COCO_1", "COCO_2", "COCO_3"], "test": ["COCO_4", "COCO_5"]}.items():
        text(root / "imageLists" / f"{split}.txt", *found)
        for name in found:
            image(root / "images" / f"{name}.jpg")
            (root / "annotations").mkdir(exist_ok=True)
            savemat(root / "annotations" / f"{name}.mat", {"S": ids(1, 0, 182, 13).astype(np.uint16)})


def coco_stuff_164k(root):
    for split, n in (("train", 3), ("val", 2)):
        for i in range(n):
            image(root / f"{split}2017" / f"{i:012d}.jpg")
            png(root / "stuffthingmaps" / f"{split}2017" / f"{i:012d}.png", ids(0, 255, 181, 12))


# what the first row's train ids must be, by the tables of the datasets' publications
CASES = {
    "ade20k": (ade20k, [0, 255, 149], 150),
    "lip": (lip, [0, 14, 19], 20),
    "pascal_voc": (pascal_voc, [0, 255, 20], 21),
    "pascal_context_59": (pascal_context, [0, 255, 58], 59),
    "pascal_context_60": (pascal_context, [1, 0, 59], 60),
    # 13 (stop sign) is the twelfth of those used: 12 isn't
    "coco_stuff_10k": (coco_stuff_10k, [0, 255, 170, 11], 171),
    "coco_stuff_164k": (coco_stuff_164k, [0, 255, 170, 11], 171),
}


@pytest.mark.parametrize("name", CASES)
def test_pairs_and_train_ids(name, tmp_path):
    """Counts and train ids against those of the tree that was written."""
    write, expected, classes = CASES[name]
    write(tmp_path / "root")
    for split, count in (("train", 3), ("val", 2)):
        rows = data.load(name, tmp_path / "root", split)
        data.check(rows)
        assert len(rows) == count
        for row in rows:
            assert np.asarray(row["label"])[0, : len(expected)].tolist() == expected
    assert len(data.label_set(name).names) == classes
    assert len(set(data.label_set(name).names)) == classes
    with pytest.raises(ValueError, match="expected one of train, val"):
        data.load(name, tmp_path / "root", "holdout")


UNUSED = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91}  # of COCO-Stuff's 1..182


def by_order(ids, **ignored) -> dict[int, int]:
    """Ids in order are the classes 0, 1, ..."""
    return {id_: k for k, id_ in enumerate(ids)} | dict.fromkeys(ignored.values(), 255)


# by the publications: the train id of every id that may stand in a file; all other ids are unknown
TABLES = {
    "ade20k": {0: 255, **{k: k - 1 for k in range(1, 151)}},
    "camvid": {**{k: k for k in range(11)}, 11: 255},
    "lip": {**{k: k for k in range(20)}, 255: 255},
    "pascal_voc": {**{k: k for k in range(21)}, 255: 255},
    "pascal_context_59": {0: 255, **{k: k - 1 for k in range(1, 60)}, 255: 255},
    "pascal_context_60": {**{k: k for k in range(60)}, 255: 255},
    "coco_stuff_10k": by_order((k for k in range(1, 183) if k not in UNUSED), unlabeled=0),
    "coco_stuff_164k": by_order((k - 1 for k in range(1, 183) if k not in UNUSED), unlabeled=255),
}
# ids in the files by which the tables of names can be told to be in order: first, last, and beside the gaps
NAMED = {
    "ade20k": {1: "wall", 13: "person", 21: "car", 76: "swivel chair", 137: "traffic light", 150: "flag"},
    "lip": {0: "Background", 2: "Hair", 13: "Face", 14: "Left-arm", 19: "Right-shoe"},
    "pascal_voc": {0: "background", 1: "aeroplane", 7: "car", 15: "person", 20: "tvmonitor"},
    "pascal_context_59": {1: "aeroplane", 8: "boat", 37: "person", 47: "sky", 59: "wood"},
    "pascal_context_60": {0: "background", 1: "aeroplane", 37: "person", 59: "wood"},
    "coco_stuff_10k": {1: "person", 11: "fire hydrant", 13: "stop sign", 90: "toothbrush", 92: "banner", 182: "wood"},
    "coco_stuff_164k": {0: "person", 10: "fire hydrant", 12: "stop sign", 89: "toothbrush", 91: "banner", 181: "wood"},
}


@pytest.mark.parametrize("name", TABLES)
def test_every_id_is_mapped_as_published(name):
    """Cityscapes' table is compared with cityscapesscripts' in its own file."""
    labels = data.label_set(name)
    assert labels.to_train_ids.tolist() == [TABLES[name].get(k, -1) for k in range(256)]
    for id_, expected in NAMED.get(name, {}).items():
        assert labels.names[labels.to_train_ids[id_]] == expected


@pytest.mark.parametrize("name", CASES)
def test_a_wrong_root_is_named(name, tmp_path):
    CASES[name][0](tmp_path / "above" / "root")
    with pytest.raises(data.DataError, match="root does: give that folder as the root"):
        data.load(name, tmp_path / "above", "train")
    (tmp_path / "empty").mkdir()
    with pytest.raises(data.DataError, match="empty: holds no"):
        data.load(name, tmp_path / "empty", "train")


@pytest.mark.parametrize("name", CASES)
def test_ids_beyond_the_classes_are_named(name, tmp_path):
    """Of an id in no table: 200 (and 12, which COCO-Stuff doesn't use)."""
    CASES[name][0](tmp_path)
    row = data.load(name, tmp_path, "train").with_format(None)[0]
    path = row["label"]["path"]
    for bad in (200, 12) if name == "coco_stuff_10k" else (200,):
        if path.endswith(".mat"):
            savemat(path, {"S": ids(1, bad).astype(np.uint16)})
        else:
            png(tmp_path / path, ids(1, bad))
        with pytest.raises(data.DataError, match=rf"{row['name']}.*\[{bad}\]"):
            data.load(name, tmp_path, "train")[0]


def test_aug_is_voc_and_sbd_without_voc_s_validation(tmp_path):
    """VOC's masks where it has them, SBD's .mat files otherwise."""
    pascal_voc(tmp_path)
    for name in ("2008_10", "2008_11"):
        image(tmp_path / "JPEGImages" / f"{name}.jpg")
    text(tmp_path / "sbd" / "train.txt", "2008_10", "2007_04", "2007_01")
    text(tmp_path / "sbd" / "val.txt", "2008_11", "2007_05")
    (tmp_path / "sbd" / "cls").mkdir()
    for name in ("2008_10", "2008_11", "2007_01", "2007_04", "2007_05"):
        cell = np.zeros((1, 1), [("Segmentation", object)])
        cell["Segmentation"][0, 0] = ids(7, 3)
        savemat(tmp_path / "sbd" / "cls" / f"{name}.mat", {"GTcls": cell})
    rows = data.load("pascal_voc", tmp_path, "aug")
    data.check(rows)
    assert rows["name"] == ["2007_01", "2007_02", "2007_03", "2008_10", "2008_11"]
    assert np.asarray(rows[0]["label"])[0, :3].tolist() == [0, 255, 20]
    assert np.asarray(rows[3]["label"])[0, :3].tolist() == [7, 3, 7]


def test_a_damaged_mat_file_is_named(tmp_path):
    coco_stuff_10k(tmp_path)
    (tmp_path / "annotations" / "COCO_2.mat").write_bytes(b"broken")
    with pytest.raises(data.DataError, match="COCO_2.mat: not a readable .mat file"):
        data.check(data.load("coco_stuff_10k", tmp_path, "train"))
    savemat(tmp_path / "annotations" / "COCO_2.mat", {"labels": ids(1)})
    with pytest.raises(data.DataError, match="COCO_2.mat: holds labels, expected S"):
        data.check(data.load("coco_stuff_10k", tmp_path, "train"))


def test_colours_of_pascal_voc():
    """As its development kit has them."""
    colors = dict(zip(data.label_set("pascal_voc").names, data.label_set("pascal_voc").palette.tolist(), strict=False))
    assert colors["background"] == [0, 0, 0]
    assert colors["aeroplane"] == [128, 0, 0]
    assert colors["person"] == [192, 128, 128]
    assert colors["tvmonitor"] == [0, 64, 128]


def test_mirrors_swap_left_and_right():
    names = data.label_set("lip").names
    for left, right in data.label_set("lip").flip_pairs:
        assert names[left].replace("Left", "Right") == names[right]


@pytest.mark.parametrize("name", data.DATASETS)
def test_every_dataset_is_described(name):
    """As commands, recipes and cards need it."""
    dataset = data.published(name)
    assert dataset.splits[:2] == ("train", "val")
    assert set(dataset.optional) < set(dataset.splits)
    assert all(dataset.images.values())
    assert all(set(entry.splits) <= set(dataset.splits) for entry in dataset.tree)
    assert data.label_set(name) is dataset.labels
    with pytest.raises(ValueError, match="split 'holdout' is unknown; expected one of train, val"):
        dataset.find(Path("nowhere"), "holdout")
