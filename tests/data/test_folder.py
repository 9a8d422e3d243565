"""Own images and masks: every layout, every kind of mask, every typical mistake."""

import json

import numpy as np
import pytest
from PIL import Image

from modeling_ocrnet import data
from modeling_ocrnet.data import DataSource

SIZE = (8, 12)  # height, width
NAMES = ["road", "tree", "car"]
COLORS = [(128, 64, 128), (0, 90, 0), (0, 0, 142)]
# what is drawn, as class indices, 255 where nothing was labelled
DRAWN = np.full(SIZE, 1, np.uint8)
DRAWN[:2], DRAWN[5:, :4], DRAWN[0, 0] = 0, 2, 255


def write(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(path, **options)


def photo(path, size=SIZE):
    write(path, np.full((*size, 3), 77, np.uint8))


def pair(root, image="images/train/a.jpg", mask="masks/train/a.png", pixels=DRAWN):
    photo(root / image)
    write(root / mask, pixels)


def classes(root, content=NAMES):
    (root / "classes.json").write_text(json.dumps(content))


def labels_of(source, split="train"):
    rows = data.load(source, split=split)
    data.check(rows)
    return [np.asarray(x["label"]) for x in rows]


@pytest.fixture
def root(tmp_path):
    (tmp_path / "own").mkdir()
    return tmp_path / "own"


def source(root, **fields):
    return DataSource("folder", str(root), **fields)


LAYOUTS = {
    "by split": ("{split}/images/{name}.jpg", "{split}/masks/{name}.png"),
    "by kind": ("images/{split}/{name}.PNG", "masks/{split}/{name}.png"),
    "as mmsegmentation": ("img_dir/{split}/{name}.tif", "ann_dir/{split}/{name}.tif"),
    "other words": ("{split}/imgs/{name}.webp", "{split}/labels/{name}.bmp"),
    "annotations": ("images/{split}/{name}.jpeg", "annotations/{split}/{name}.png"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout, root):
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


def palette_picture(indices):
    picture = Image.fromarray(indices, mode="P")
    picture.putpalette([x for i in range(256) for x in (i, 255 - i, 7)])
    return picture


RGB = np.array([*COLORS, (9, 9, 9)], np.uint8)[np.where(DRAWN == 255, 3, DRAWN)]
VOID = {"name": "void", "color": [9, 9, 9], "id": 255}
COLORED = [{"name": name, "color": list(c), "id": i} for i, (name, c) in enumerate(zip(NAMES, COLORS, strict=True))]
IDS = np.array([7, 40, 300, 0], np.uint16)
KINDS = {
    "8-bit ids": (DRAWN, NAMES),
    "16-bit ids": (DRAWN.astype(np.uint16), NAMES),
    "palette": (palette_picture(DRAWN), NAMES),
    "colours": (RGB, {"classes": [*COLORED, VOID], "ignore_ids": [255]}),
    "colours with alpha": (
        np.dstack([RGB, np.full(SIZE, 200, np.uint8)]),
        {"classes": [*COLORED, VOID], "ignore_ids": [255]},
    ),
    "ids of one's own": (
        IDS[np.where(DRAWN == 255, 3, DRAWN)],
        {"classes": [{"name": n, "id": int(i)} for n, i in zip(NAMES, IDS, strict=False)], "ignore_ids": [0]},
    ),
    "reduce_zero_label": (
        np.where(DRAWN == 255, 0, DRAWN + 1).astype(np.uint8),
        {"classes": NAMES, "reduce_zero_label": True},
    ),
    "an ignored class": (
        np.where(DRAWN == 255, 0, DRAWN + 1).astype(np.uint8),
        {"classes": ["nothing", *NAMES], "ignore_ids": [0]},
    ),
    "id2label": (DRAWN, {"1": "tree", "0": "road", "2": "car"}),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_masks(kind, root):
    pixels, content = KINDS[kind]
    pair(root, pixels=pixels)
    classes(root, content)
    assert np.array_equal(labels_of(source(root))[0], DRAWN)
    labels = data.label_set("folder", root)
    assert labels.names == tuple(NAMES)
    palette = [tuple(x) for x in labels.palette[:3].tolist()]
    assert palette == COLORS if "colours" in kind else len(set(palette)) == 3


def test_reduction_is_transformers(root):
    """`reduce_zero_label` gives what transformers' image processors make of the same masks."""
    from transformers import SegformerImageProcessor

    pixels = np.random.default_rng(0).integers(0, 4, SIZE).astype(np.uint8)
    pair(root, pixels=pixels)
    classes(root)
    processor = SegformerImageProcessor(do_resize=False, do_reduce_labels=True)
    theirs = processor([np.zeros((*SIZE, 3), np.uint8)], [pixels], return_tensors="np")["labels"][0]
    assert np.array_equal(labels_of(source(root, reduce_zero_label=True))[0], theirs)
    # and the file's ids, for predictions: the dataset's own
    assert data.label_set(source(root, reduce_zero_label=True)).ids == (1, 2, 3)
    classes(root, {"0": "road", "1": "tree", "2": "car"})  # the Hub's id2label counts after the reduction
    assert np.array_equal(labels_of(source(root, reduce_zero_label=True))[0], theirs)


def test_black_and_white_is_two_classes(root):
    """255 is a class where one has that id; 1-bit masks are 0 and 1."""
    pair(root, pixels=np.where(DRAWN == 2, 255, 0).astype(np.uint8))
    classes(root, {"classes": [{"name": "no", "id": 0}, {"name": "yes", "id": 255}]})
    assert np.array_equal(labels_of(source(root))[0], DRAWN == 2)
    pair(root, pixels=DRAWN == 2)
    classes(root, ["no", "yes"])
    assert np.array_equal(labels_of(source(root))[0], DRAWN == 2)


def test_mirrored_classes(root):
    classes(root, {"classes": ["nose", "left arm", "right arm"], "flip_pairs": [["left arm", "right arm"]]})
    assert data.label_set("folder", root).flip_pairs == ((1, 2),)


@pytest.mark.parametrize(
    ("pixels", "found"),
    [
        (DRAWN, ["id 0: 23.96 %", "id 255: 1.04 %", '"ignore_ids": [255]']),
        (palette_picture(DRAWN), ["id 2: 12.50 %", "in 1 of 1 masks", "[2, 253, 7]"]),
        (RGB, ["color [9, 9, 9]: 1.04 %", "[128, 64, 128]"]),
        (np.where(DRAWN == 2, 255, 0).astype(np.uint8), ['"id": 255', '"ignore_ids": []']),
    ],
)
def test_without_classes_they_are_proposed(pixels, found, root):
    """What is proposed can be saved as it is, and reads every mask."""
    pair(root, pixels=pixels)
    with pytest.raises(data.DataError) as caught:
        data.label_set("folder", root)
    message = str(caught.value)
    assert message.startswith(f"{root}/classes.json: there is no such file")
    assert all(x in message for x in found), message
    (root / "classes.json").write_text(message[message.index("\n{") : message.rindex("\n}") + 2])
    (labels,) = labels_of(source(root))
    original = np.asarray(pixels if not isinstance(pixels, Image.Image) else DRAWN)
    original = original.reshape(-1, *original.shape[2:])
    # the same partition of the pixels, apart from what is ignored
    for value in np.unique(original, axis=0):
        same = (original == value).reshape(len(original), -1).all(1)
        assert len(np.unique(labels.ravel()[same])) == 1
    assert len(np.unique(labels)) == len(np.unique(original, axis=0))


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
                x.rename(x.with_stem(f"{x.stem}_mask"))
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
        ("other names", r"no mask is called as an image is \(a.jpg, a_mask.png\): the names must be equal"),
        ("two images", "a.jpg: there is a.png too"),
        ("no masks", "masks/train: no such folder; the masks of .*images/train are looked for there"),
        ("no images", "a.png: a mask without an image(.|\n)*b.png: a mask without an image"),
        ("folders of folders", "its images lie in folders of their own: list the pairs in a CSV"),
        ("unequal sizes", "a.png: 12x5, but its image is 12x8"),
        ("unknown id", r"a.png: holds the ids \[9\].*: add them to .*classes.json, as classes or to its ignore_ids"),
        ("colours without a table", "a.png: a mask of mode RGB.*give every class a color of its own"),
        ("JPEG", "a.jpg: a mask as JPEG, which changes values along every edge"),
    ],
)
def test_typical_mistakes_are_named(kind, message, root):
    for name in "ab":
        pair(root, f"images/train/{name}.jpg", f"masks/train/{name}.png")
    classes(root)
    break_(kind, root)
    with pytest.raises(data.DataError, match=message):
        data.check(data.load("folder", root, "train"))


def test_unknown_colours_are_named_and_counted(root):
    classes(root, {"classes": [*COLORED, VOID], "ignore_ids": [255]})
    smoothed = RGB.copy()
    smoothed[4, :3], smoothed[7, 11] = (1, 2, 3), (200, 0, 0)
    pair(root, pixels=smoothed)
    with pytest.raises(
        data.DataError, match=r"2 colours that no class has: \[1, 2, 3\] on 3 pixels, \[200, 0, 0\] on 1"
    ):
        data.load("folder", root, "train")[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"names": NAMES}, 'expected {"classes"'),
        ([], 'expected {"classes"'),
        ({"classes": NAMES, "ignore": [3]}, "unknown field 'ignore'"),
        ([{"name": "a", "colour": [1, 2, 3]}], "class 'a': unknown field colour; there are name, id, color"),
        ([{"name": "a", "color": [1, 2, 300]}], r"color \[1, 2, 300\], expected three numbers from 0 to 255"),
        ([{"name": "a", "id": -1}], "id -1, expected 0 to 65535"),
        ([{"name": "a", "id": 3}, {"name": "b", "id": 3}], "id 3 occurs twice"),
        (["a", "a"], 'name "a" occurs twice'),
        ([{"name": "a", "id": 3}, "b"], "1 of 2 classes have an id"),
        ([{"id": 3}], "has no name"),
        ({"classes": [{"name": "a", "id": 0}], "reduce_zero_label": True}, "id 0, which reduce_zero_label ignores"),
        ({"classes": NAMES, "reduce_zero_label": "no"}, "reduce_zero_label is 'no', expected true or false"),
        ({"classes": NAMES, "ignore_ids": 255}, "ignore_ids is 255, expected a list"),
        ({"classes": NAMES, "flip_pairs": [["road", "bus"]]}, r"flip_pairs has \['road', 'bus'\]"),
        ({"classes": NAMES, "ignore_ids": [0, 1, 2]}, "0 classes are trained, expected 2 to 65535"),
        (["crack"], "1 classes are trained, expected 2 to 65535; where there is one thing to find, the background"),
        ([f"class {i}" for i in range(2**16)], "65536 classes are trained, expected 2 to 65535"),
    ],
)
def test_a_wrong_classes_json_is_explained(content, message, root):
    classes(root, content)
    with pytest.raises(data.DataError, match=message) as caught:
        data.label_set("folder", root)
    assert str(root / "classes.json") in str(caught.value)


def test_all_problems_of_a_classes_json_are_listed(root):
    classes(root, [{"name": "a", "id": -1}, {"id": 3, "name": "b", "color": "red"}])
    with pytest.raises(data.DataError, match="id -1(.|\n)*color 'red'"):
        data.label_set("folder", root)
    (root / "classes.json").write_text("{")
    with pytest.raises(data.DataError, match="classes.json: not readable as JSON"):
        data.label_set("folder", root)
    with pytest.raises(data.DataError, match="other.json: there is no such file"):
        data.label_set(source(root, classes=str(root / "other.json")))


@pytest.mark.parametrize("flat", [True, False])
def test_a_share_of_the_images_can_be_held_out(flat, root):
    """By name: disjoint, whole, and no image moves when others are added."""
    folder = "" if flat else "/train"
    names = [f"img_{i:03d}" for i in range(60)]
    for name in names[:40]:
        pair(root, f"images{folder}/{name}.jpg", f"masks{folder}/{name}.png")
    classes(root)
    with pytest.raises(data.DataError, match="has no split val, only (all|train); .*val_share 0.2 holds a fifth"):
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
        with pytest.raises(data.DataError, match="has a split val, but val_share would make another"):
            data.load(own, split="train")


def test_a_wrong_root_is_explained(root):
    classes(root)
    with pytest.raises(data.DataError, match="nowhere: no such folder; give the one that holds your images"):
        data.load("folder", root / "nowhere")
    with pytest.raises(data.DataError, match="has no split train; it is made by train/images and"):
        data.load("folder", root)
    (root / "classes.json").unlink()
    with pytest.raises(data.DataError, match="own: holds no images and masks; train is made by train/images"):
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
        ({"name": "foldr"}, "'foldr' is unknown; there are .*folder, hub"),
    ],
)
def test_fields_that_do_not_fit_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        DataSource(**fields)


def test_colours_are_looked_up_exactly():
    """Thousands of colours in one picture, by a table of 200: as by comparing with each."""
    from modeling_ocrnet.data.train_ids import _color_table, pack_colors

    rng = np.random.default_rng(0)
    colors = np.unique(rng.integers(0, 256, (200, 3)), axis=0)
    codes = tuple((tuple(map(int, c)), i) for i, c in enumerate(colors))
    pixels = np.concatenate([colors, rng.integers(0, 256, (5000, 3))]).astype(np.uint8)
    equal = (pixels[:, None] == colors[None]).all(2)  # (pixels, colours)
    expected = np.where(equal.any(1), equal.argmax(1), -1)
    assert np.array_equal(_color_table(codes)[pack_colors(pixels)] - 1, expected)


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
    with pytest.raises(data.DataError, match="2 images would be called a_b_c"):
        data.load("folder", root)
