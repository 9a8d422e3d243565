"""The classes of own data: every kind of mask, and what is wrong with a classes.json."""

import numpy as np
import pytest
from helpers.own_data import COLORS, DRAWN, NAMES, RGB, SIZE, classes, labels_of, pair, source
from PIL import Image

from modeling_ocrnet import data


@pytest.fixture
def root(tmp_path):
    (tmp_path / "own").mkdir()
    return tmp_path / "own"


def palette_picture(indices):
    picture = Image.fromarray(indices, mode="P")
    picture.putpalette([x for i in range(256) for x in (i, 255 - i, 7)])
    return picture


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
    """Each is read as the ids that were drawn."""
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
    """Names in classes.json become pairs of ids."""
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
        ([{"name": "a", "colour": [1, 2, 3]}], "class 'a': unknown field colour; expected name, id, color"),
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
        (["crack"], "1 classes are trained, expected 2 to 65535; if there is one thing to find, the background"),
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
