"""Own images and masks: every layout, every way of splitting, every typical mistake."""

import json
import re

import numpy as np
import pytest
from helpers.own_data import DRAWN, RGB, classes, labels_of, pair, photo, source, write

from modeling_ocrnet import data
from modeling_ocrnet.data import DataSource


@pytest.fixture
def root(tmp_path):
    (tmp_path / "own").mkdir()
    return tmp_path / "own"


LAYOUTS = {
    "by split": ("{split}/images/{name}.jpg", "{split}/masks/{name}.png"),
    "by kind": ("images/{split}/{name}.PNG", "masks/{split}/{name}.png"),
    "as mmsegmentation": ("img_dir/{split}/{name}.tif", "ann_dir/{split}/{name}.tif"),
    "other words": ("{split}/imgs/{name}.webp", "{split}/labels/{name}.bmp"),
    "annotations": ("images/{split}/{name}.jpeg", "annotations/{split}/{name}.png"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout, root):
    """Each gives the names and the labels that were written."""
    image, mask = LAYOUTS[layout]
    words = {"train": "training", "val": "validation"} if layout == "annotations" else {}
    for split, names in (("train", "ba"), ("val", "c")):
        for name in names:
            where = {"split": words.get(split, split), "name": name}
            pair(root, image.format(**where), mask.format(**where))
    classes(root)
    for split, names in (("train", ["a", "b"]), ("val", ["c"])):
        rows = data.load("folder", root, split)
        data.check(rows)
        assert rows["name"] == names
        assert all(np.array_equal(x["label"], DRAWN) and x["image"].mode == "RGB" for x in rows)


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_tables_of_pairs(kind, root, tmp_path):
    """Paths below the table, or absolute; names stay unique; any column names; test may lack masks."""
    pair(root, "day1/x.jpg", "day1/x_mask.png")
    pair(root, "day2/x.jpg", "day2/x_mask.png", np.zeros_like(DRAWN))
    photo(tmp_path / "far" / "y.jpg")
    rows = [("day2/x.jpg", "day2/x_mask.png"), ("day1/x.jpg", str(root / "day1" / "x_mask.png"))]
    unlabelled = [(str(tmp_path / "far" / "y.jpg"), "")]
    for split, content in (("train", rows), ("test", unlabelled)):
        lines = [json.dumps({"photo": a, "truth": b or None, "n": 1}) for a, b in content]
        if kind == "csv":
            lines = ["photo,n,truth", *(f"{a},1,{b}" for a, b in content)]
        (root / f"{split}.{kind}").write_text("\n".join(lines) + "\n")
    classes(root)
    own = source(root, image_column="photo", mask_column="truth")
    loaded = data.load(own, split="train")
    data.check(loaded)
    assert loaded["name"] == ["day1_x", "day2_x"]
    assert np.array_equal(loaded[0]["label"], DRAWN)
    assert np.asarray(loaded[1]["label"]).max() == 0
    assert data.load(own, split="test")[0]["label"] is None
    with pytest.raises(data.DataError, match=r"row 1 has the columns .*photo.*, expected image and mask"):
        data.load("folder", root, "train")
    (root / f"train.{kind}").write_text("photo,truth\na.jpg,\na.jpg,\n" if kind == "csv" else "{broken")
    message = (
        "lists .*a.jpg 2 times(.|\n)*a.jpg: has no mask" if kind == "csv" else "train.jsonl: not readable as JSONL"
    )
    with pytest.raises(data.DataError, match=message):
        data.load(own, split="train")


def break_(kind, root):
    """One typical mistake in a tree of two good pairs."""
    image, mask = root / "images/train/a.jpg", root / "masks/train/a.png"
    match kind:
        case "missing mask":
            mask.unlink()
        case "missing image":
            image.unlink()
        case "other names":
            for x in list(mask.parent.iterdir()):
                x.rename(x.with_stem(f"{x.stem}{x.stem}"))
        case "two images":
            photo(image.with_suffix(".png"))
        case "no masks":
            (root / "masks").rename(root / "truth")
        case "no images":
            for x in list(image.parent.iterdir()):
                x.unlink()
        case "folders of folders":
            image.parent.rename(root / "x")
            (image.parent / "monday").mkdir(parents=True)
            (root / "x" / "a.jpg").rename(image.parent / "monday" / "a.jpg")
            (root / "masks").rename(root / "y")
            (root / "masks" / "train").mkdir(parents=True)
        case "unequal sizes":
            write(mask, DRAWN[:5])
        case "unknown id":
            write(mask, np.where(DRAWN == 2, 9, DRAWN).astype(np.uint8))
        case "colours without a table":
            write(mask, RGB)
        case "JPEG":
            mask.unlink()
            write(mask.with_suffix(".jpg"), DRAWN)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing mask", "1 problems with the pairs:\n  .*a.jpg: has no mask"),
        ("missing image", "a.png: a mask without an image"),
        ("other names", r"no mask has the name of an image \(a.jpg, aa.png\): the names must be the same"),
        ("two images", "a.jpg: its name without suffix is also that of a.png"),
        ("no masks", "masks/train: no such folder; it should hold the masks of .*images/train"),
        ("no images", "a.png: a mask without an image(.|\n)*b.png: a mask without an image"),
        ("folders of folders", "its images are in subfolders: list the pairs in a CSV"),
        ("unequal sizes", "a.png: 12x5, but its image is 12x8"),
        ("unknown id", r"a.png: holds the ids \[9\].*: add them to .*classes.json, as classes or to its ignore_ids"),
        ("colours without a table", "a.png: the mask has mode RGB.*give every class a different color"),
        ("JPEG", "a.jpg: a JPEG can't be a mask, because its compression changes ids along edges"),
    ],
)
def test_typical_mistakes_are_named(kind, message, root):
    for name in "ab":
        pair(root, f"images/train/{name}.jpg", f"masks/train/{name}.png")
    classes(root)
    break_(kind, root)
    with pytest.raises(data.DataError, match=message):
        data.check(data.load("folder", root, "train"))


UNREAD = {  # what is renamed, and what is said of it, in place of "without an image" and "has no mask"
    "an image": (
        ["images/train/a.jp2"],
        [r"images/train/a\.jp2: \.jp2 files aren't read, only bmp, .*: convert it"],
    ),
    "all images": (["images/train/a.heic", "images/train/b.AVIF"], [r"a\.heic: \.heic", r"b\.AVIF: \.AVIF"]),
    "a mask": (["masks/train/b.gif"], [r"masks/train/b\.gif: \.gif files aren't read, only bmp, "]),
    "a pair": (["images/train/a.jxl", "masks/train/a.npy"], [r"a\.jxl: \.jxl files", r"a\.npy: \.npy files"]),
}


@pytest.mark.parametrize("kind", UNREAD)
def test_suffixes_that_are_not_read_are_named(kind, root):
    renamed, messages = UNREAD[kind]
    for name in "ab":
        pair(root, f"images/train/{name}.jpg", f"masks/train/{name}.png")
    classes(root)
    for x in map(root.joinpath, renamed):
        next(x.parent.glob(f"{x.stem}.*")).rename(x)
    with pytest.raises(data.DataError, match=f"^{len(messages)} problems") as refused:
        data.load("folder", root, "train")
    lines = str(refused.value).splitlines()[1:]
    assert all(re.search(x, line) for x, line in zip(messages, lines, strict=True))


def test_images_without_masks_and_without_splits_too(root):
    pair(root, "images/a.jpg", "masks/a.png")
    (root / "images/a.jpg").rename(root / "images/a.heic")
    classes(root)
    with pytest.raises(data.DataError, match=r"a\.heic: \.heic files aren't read"):
        data.load("folder", root, "all")
    (root / "images").rename(root / "test")
    (root / "test" / "images").mkdir()
    (root / "test/a.heic").rename(root / "test/images/a.heic")
    with pytest.raises(data.DataError, match=r"a\.heic: \.heic files aren't read"):
        data.load("folder", root, "test")


def test_what_no_pair_needs_is_left_out(root, caplog):
    """A photo's original beside its copy in silence, one of its own with a line."""
    pair(root)
    classes(root)
    for name in ("a.heic", "z.heic"):
        (root / "images/train" / name).write_bytes(b"")
    assert data.load("folder", root, "train")["name"][:] == ["a"]
    assert [x.message.partition(": left")[0] for x in caplog.records] == [str(root / "images/train/z.heic")]


def test_a_jfif_is_a_jpeg(root):
    pair(root, "images/train/a.jpg")
    (root / "images/train/a.jpg").rename(root / "images/train/a.jfif")
    classes(root)
    assert np.array_equal(labels_of(source(root))[0], DRAWN)


@pytest.mark.parametrize("flat", [True, False])
def test_a_share_of_the_images_can_be_held_out(flat, root):
    """By name: disjoint, whole, and no image moves when others are added."""
    folder = "" if flat else "/train"
    names = [f"img_{i:03d}" for i in range(60)]
    for name in names[:40]:
        pair(root, f"images{folder}/{name}.jpg", f"masks{folder}/{name}.png")
    classes(root)
    with pytest.raises(data.DataError, match="has no split val, only (all|train); .*val_share 0.2 holds out a fifth"):
        data.load("folder", root, "val")
    own = source(root, val_share=0.25)
    first = {split: set(data.load(own, split=split)["name"]) for split in ("train", "val")}
    assert first["train"] | first["val"] == set(names[:40])
    assert not first["train"] & first["val"]
    assert 3 <= len(first["val"]) <= 18
    for name in names[40:]:
        pair(root, f"images{folder}/{name}.jpg", f"masks{folder}/{name}.png")
    for split in ("train", "val"):
        assert first[split] == set(data.load(own, split=split)["name"]) & set(names[:40])
    if flat:
        assert len(data.load("folder", root, "all")) == 60
    with pytest.raises(data.DataError, match="leaves none for val"):
        data.load(source(root, val_share=1e-6), split="val")
    pair(root, "images/val/z.jpg", "masks/val/z.png")
    if not flat:
        with pytest.raises(data.DataError, match="has a split val, and val_share would make another one"):
            data.load(own, split="train")


def test_a_wrong_root_is_explained(root):
    classes(root)
    with pytest.raises(data.DataError, match="nowhere: no such folder; give the folder of your images and masks"):
        data.load("folder", root / "nowhere")
    with pytest.raises(data.DataError, match="has no split train; it needs train/images and"):
        data.load("folder", root)
    (root / "classes.json").unlink()
    with pytest.raises(data.DataError, match="own: holds no images and masks; the split train needs train/images"):
        data.load("folder", root)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"name": "cityscapes", "path": "a/b"},
            "path is given, .*'cityscapes' doesn't take it: it is for hub",
        ),
        ({"name": "folder", "path": "a/b"}, "path is given, but dataset 'folder'"),
        ({"name": "hub", "path": "a/b", "root": "c"}, "root is given, but dataset 'hub'"),
        ({"name": "hub", "path": "a/b", "val_share": 0.2}, "val_share is given, .*it is for folder"),
        ({"name": "camvid", "ignore_ids": [3]}, "ignore_ids is given, .*it is for folder or hub"),
        ({"name": "hub"}, "'hub' needs a path"),
        ({"name": "folder", "val_share": 20}, "val_share must lie between 0 and 1, got 20"),
        ({"name": "folder", "image_column": "mask"}, "image_column and mask_column are both 'mask'"),
        ({"name": "foldr"}, "'foldr' is unknown; expected one of .*folder, hub"),
    ],
)
def test_fields_that_do_not_fit_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        DataSource(**fields)


def test_a_row_more_in_a_table_moves_none_of_the_others(root):
    """Even where its name is that of another image in another folder."""
    classes(root)
    for folder in "ab":
        for i in range(20):
            pair(root, f"{folder}/{i}.jpg", f"{folder}/{i}.png")
    rows = [f"a/{i}.jpg,a/{i}.png" for i in range(20)]
    held_out = []
    for more in ([], ["b/3.jpg,b/3.png"]):
        (root / "all.csv").write_text("\n".join(["image,mask", *rows, *more]))
        held_out.append(set(data.load(source(root, val_share=0.3), split="val")["name"]) - {"b_3"})
    assert held_out[0] == held_out[1] != set()


def test_images_that_would_be_called_alike_are_named(root):
    classes(root)
    for image in ("a/b_c.jpg", "a_b/c.jpg"):
        pair(root, image, image.replace("jpg", "png"))
    (root / "train.csv").write_text("image,mask\na/b_c.jpg,a/b_c.png\na_b/c.jpg,a_b/c.png")
    with pytest.raises(data.DataError, match="2 images would have the name a_b_c"):
        data.load("folder", root)
