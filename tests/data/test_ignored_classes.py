"""Classes and colours of own data that are in the masks but aren't trained, and classes of several colours."""

import json

import numpy as np
import pytest
from helpers.documentation import ROOT, blocks
from helpers.own_data import COLORS, DRAWN, NAMES, RGB, classes, labels_of, pair, source
from PIL import Image

from modeling_ocrnet import data
from modeling_ocrnet.data.classes import classes_of
from modeling_ocrnet.preparation.export_dataset import export

NINE = [9, 9, 9]  # the colour of what isn't labelled in RGB
COLORED = [{"name": name, "color": list(color)} for name, color in zip(NAMES, COLORS, strict=True)]
WITH_IDS = [{**x, "id": i} for i, x in enumerate(COLORED)]
VOID = {"name": "void", "color": NINE, "ignore": True}


@pytest.fixture
def root(tmp_path):
    (tmp_path / "own").mkdir()
    return tmp_path / "own"


# content, the ids of the trained classes
BY_COLOR = {
    "an ignored class": ([*COLORED, VOID], (0, 1, 2)),
    "an ignored class that is first": ([VOID, *COLORED], (1, 2, 3)),
    "an ignored class among ids": ([*WITH_IDS[:1], VOID, *WITH_IDS[1:]], (0, 1, 2)),
    "an ignored class with an id": ([*WITH_IDS, {**VOID, "id": 77}], (0, 1, 2)),
    "ignored colours": ({"classes": COLORED, "ignore_colors": [[1, 2, 3], NINE, NINE]}, (0, 1, 2)),
    "both": ({"classes": [*COLORED, VOID], "ignore_colors": [NINE]}, (0, 1, 2)),
    "false": ({"classes": [{**x, "ignore": False} for x in COLORED], "ignore_colors": [NINE]}, (0, 1, 2)),
    "colors": ([{"name": x["name"], "colors": [x["color"]]} for x in COLORED] + [VOID], (0, 1, 2)),
    "an ignored class without a colour": ([*WITH_IDS, VOID, {"name": "x", "id": 9, "ignore": True}], (0, 1, 2)),
}


@pytest.mark.parametrize("kind", BY_COLOR)
def test_colours_can_be_ignored(kind, root):
    """What was drawn comes out, and predictions have the colours and ids of trained classes only."""
    content, ids = BY_COLOR[kind]
    pair(root, pixels=RGB)
    classes(root, content)
    assert np.array_equal(labels_of(source(root))[0], DRAWN)
    labels = data.label_set("folder", root)
    assert (labels.names, labels.ids) == (tuple(NAMES), ids)
    assert [tuple(x) for x in labels.palette[:3].tolist()] == COLORS
    assert not labels.palette[3:].any()


# content; the train ids of the ids 0, 1, 2, 3 in a mask (255 is ignored, None isn't known)
BY_ID = {
    "it keeps its place": (["a", {"name": "b", "ignore": True}, "c"], (0, 255, 1, None)),
    "first": ([{"name": "nothing", "ignore": True}, "a", "b", "c"], (255, 0, 1, 2)),
    "its place, counted from 1": (
        {"classes": ["a", {"name": "b", "ignore": True}, "c"], "reduce_zero_label": True},
        (255, 0, 255, 1),
    ),
    "its id": (
        [{"name": "a", "id": 3}, {"name": "b", "id": 0, "ignore": True}, {"name": "c", "id": 1}],
        (255, 1, None, 0),
    ),
    "0, which reduce_zero_label ignores too": (
        {
            "classes": [{"name": "a", "id": 1}, {"name": "b", "id": 0, "ignore": True}, {"name": "c", "id": 2}],
            "reduce_zero_label": True,
        },
        (255, 0, 1, None),
    ),
    "ignore_ids, as before": ({"classes": ["a", "b", "c"], "ignore_ids": [1]}, (0, 255, 1, None)),
}


@pytest.mark.parametrize("kind", BY_ID)
def test_ids_can_be_ignored(kind, root):
    content, expected = BY_ID[kind]
    classes(root, content)
    known = [i for i, x in enumerate(expected) if x is not None]
    pair(root, pixels=np.tile(np.array(known, np.uint8), (8, 12))[:, :12])
    (labels,) = labels_of(source(root))
    assert labels[0, : len(known)].tolist() == [expected[i] for i in known]
    if None in expected:
        pair(root, pixels=np.full((8, 12), expected.index(None), np.uint8))
        with pytest.raises(data.DataError, match="which this dataset doesn't have"):
            labels_of(source(root))


def test_a_class_of_several_colours(root):
    """All are the class; the first is that of its predictions."""
    content = [{"name": "any", "colors": [list(COLORS[0]), list(COLORS[2]), NINE]}, {**COLORED[1]}]
    classes(root, content)
    pair(root, pixels=RGB)
    assert np.array_equal(labels_of(source(root))[0], (DRAWN == 1).astype(np.uint8))
    assert data.label_set("folder", root).palette[0].tolist() == list(COLORS[0])


def test_exports_hold_the_trained_classes(root, tmp_path):
    classes(root, {"classes": [VOID, *COLORED], "flip_pairs": [["road", "car"]], "ignore_colors": [[1, 1, 1]]})
    for split in ("train", "val"):
        pair(root, f"images/{split}/a.jpg", f"masks/{split}/a.png", RGB)
    export("folder", tmp_path / "out", root=str(root), store="raw")
    again = source(tmp_path / "out")
    assert np.array_equal(labels_of(again)[0], DRAWN)
    labels = data.label_set(again)
    assert (labels.names, labels.flip_pairs) == (tuple(NAMES), ((0, 2),))
    assert [tuple(x) for x in labels.palette[:3].tolist()] == COLORS
    content = classes_of(data.label_set("folder", root))
    assert content["classes"] == COLORED
    assert content["ignore_ids"] == [255]


def test_indices_of_a_palette_do_not_pass_for_ignored_colours(root):
    """In a palette file the indices count. If a trained one has an ignored colour, the colours were meant."""
    picture = Image.fromarray(np.where(DRAWN == 255, 0, DRAWN), mode="P")
    picture.putpalette([*NINE, *COLORS[1], *COLORS[2]])
    pair(root, pixels=picture)
    classes(root, {"classes": COLORED, "ignore_colors": [NINE]})
    with pytest.raises(data.DataError, match=r"a\.png: a palette file.* \[9, 9, 9\], but its index 0 is class 'road'"):
        labels_of(source(root))
    classes(root, {"classes": COLORED, "ignore_colors": [[1, 1, 1]]})
    assert np.array_equal(labels_of(source(root))[0], np.where(DRAWN == 255, 0, DRAWN))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([*COLORED, {**VOID, "ignore": "yes"}], "class 'void': ignore is 'yes', expected true or false"),
        ([*COLORED, {**VOID, "ignore": 1}], "class 'void': ignore is 1, expected true or false"),
        ([*COLORED, {**VOID, "ignore": None}], "class 'void': ignore is None, expected true or false"),
        ([*COLORED, {"color": NINE, "ignore": True}], "has no name"),
        ([*COLORED, {**VOID, "color": list(COLORS[0])}], r"'void': ignored, but its color \[128, .* of class 'road'"),
        ({"classes": COLORED, "ignore_colors": [list(COLORS[1])]}, r"ignore_colors has \[0, 90, 0\], the .* 'tree'"),
        ({"classes": COLORED, "ignore_colors": NINE}, r"ignore_colors is \[9, 9, 9\], expected a list of colours"),
        ({"classes": COLORED, "ignore_colors": [[9, 9]]}, r"ignore_colors is \[\[9, 9\]\], expected"),
        ({"classes": COLORED, "ignore_colors": [[9, 9, 256]]}, "expected a list of colours, each three numbers"),
        ({"classes": COLORED, "ignore_colors": "black"}, "ignore_colors is 'black', expected a list of colours"),
        ({"classes": COLORED, "ignore_colours": [NINE]}, "unknown field 'ignore_colours'; expected .*ignore_colors"),
        ({"classes": NAMES, "ignore_colors": [NINE]}, "ignore_colors is given, but class 'road' has no color"),
        ([{"name": "a", "id": 1}, {"name": "b", "id": 2}, VOID], "'void': ignored by its color, but class 'a' has no"),
        ([*WITH_IDS, {"name": "void", "ignore": True}], "'void': ignored, but it has neither an id nor a color"),
        ([*COLORED, {**VOID, "id": 4}], "1 of 4 classes have an id: .*; an ignored class with a color needs none"),
        ({"classes": [*COLORED, VOID], "flip_pairs": [["car", "void"]]}, "flip_pairs has 'void', which is ignored"),
        (
            {"classes": [{**x, "ignore": False} for x in WITH_IDS], "ignore_ids": [1]},
            "class 'tree': ignore is false, but its id 1 is in ignore_ids",
        ),
        (
            {"classes": [{"name": "nothing", "ignore": True}, *NAMES], "reduce_zero_label": True},
            "class 'nothing': ignored, and it would be 1 in the masks, because reduce_zero_label ignores 0 already",
        ),
        ([{**COLORED[0], "colors": [NINE]}, *COLORED[1:]], "class 'road': has color and colors: give one of them"),
        ([{"name": "a", "colors": NINE}, *COLORED], r"class 'a': colors \[9, 9, 9\], expected a list of colours"),
        ([{"name": "a", "colors": []}, *COLORED], r"class 'a': colors \[\], expected a list of colours"),
        ([{"name": "a", "colors": [NINE]}, *NAMES], "class 'a': colors are given, but class 'road' has no color"),
        (
            [{"name": "a", "colors": [NINE, list(COLORS[1])]}, *COLORED],
            r"color \[0, 90, 0\] is that of class 'a' and of class 'tree'",
        ),
        ([COLORED[0], VOID], "1 classes are trained, expected 2 to"),
        ([{"name": ["x"], "ignore": True}, *COLORED], "has no name"),
    ],
)
def test_contradictions_are_named(content, message, root):
    (root / "classes.json").write_text(json.dumps(content))
    with pytest.raises(data.DataError, match=message) as caught:
        data.label_set("folder", root)
    assert len(str(caught.value).splitlines()) == 1


def test_the_documented_file_is_right(root):
    """The full file of docs/own_data.md: its shadow is the only listed class that isn't trained."""
    (block,) = (x for x in blocks(ROOT / "docs" / "own_data.md") if x.language == "json")
    (root / "classes.json").write_text(block.text)
    labels = data.label_set("folder", root)
    assert (labels.names, labels.ids, labels.flip_pairs) == (("road", "left arm", "right arm"), (7, 8, 9), ((1, 2),))
    assert {x for x, train_id in labels.color_codes if train_id == 255} == {(64, 64, 64), (0, 0, 0), (64, 128, 64)}


def test_what_was_accepted_still_is(root):
    """Colours that several classes share are those of pictures; masks hold ids then."""
    shared = [{"name": n, "id": i, "color": NINE} for i, n in enumerate(NAMES)]
    classes(root, {"classes": [*shared, {"name": "x", "id": 3, "color": NINE}], "ignore_ids": [3, 255]})
    pair(root)
    assert np.array_equal(labels_of(source(root))[0], DRAWN)
    pair(root, pixels=RGB)
    with pytest.raises(data.DataError, match="give every class a different color"):
        labels_of(source(root))
