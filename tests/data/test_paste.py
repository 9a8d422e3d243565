"""Pasted objects: which are copied, where to, and with which labels."""

import cv2
import numpy as np
import pytest

from modeling_ocrnet.common.errors import UserError
from modeling_ocrnet.data import label_set
from modeling_ocrnet.data.augmentations import Crop, cutout, for_classes, read_augmentations, rotate
from modeling_ocrnet.data.augmentations.paste import mirrored, whole_things
from modeling_ocrnet.data.labels import Label, LabelSet

FILL = (124, 116, 104)
LABELS = LabelSet(
    tuple(Label(name, i, i, (i, i, i)) for i, name in enumerate(["road", "pole", "sign", "left", "right"])),
    flip_pairs=((3, 4),),
)
SHAPE = np.array([[0, 1, 0, 0], [1, 1, 1, 1], [0, 1, 0, 0], [0, 1, 1, 0], [0, 1, 0, 0]], bool)  # no mirror of itself


def scene(places, size=(60, 80), dtype=np.uint8):
    """Objects of `SHAPE`, three times as large, on road: {(top, left): class}. Each pixel's colour is unique."""
    label = np.zeros(size, dtype)
    image = np.zeros((*size, 3), np.uint8)
    image[..., 0], image[..., 1] = np.indices(size)
    shape = np.kron(SHAPE, np.ones((3, 3))) > 0
    for (top, left), class_id in places.items():
        box = slice(top, top + 15), slice(left, left + 12)
        label[box][shape] = class_id
        image[box][shape, 2] = 255
    return Crop(image, label, FILL)


def paste(**fields):
    (found,) = for_classes(read_augmentations([{"name": "paste", "probability": 1, **fields}]), LABELS)
    return found


def parts(mask):
    return cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0] - 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_copies_are_the_object_with_its_label(dtype):
    given = scene({(5, 5): 1}, dtype=dtype)
    for seed in range(30):
        pasted = paste(classes=["pole"], copies=3)(given, np.random.default_rng(seed))
        new = pasted.label != given.label
        assert pasted.label.dtype == dtype
        assert set(pasted.label[new]) == {1}
        assert new.sum() % (9 * SHAPE.sum()) == 0  # whole objects
        assert new.sum() == 3 * 9 * SHAPE.sum()
        # a pixel's colour is unique: each new one has its place in the object, and its neighbours follow
        assert np.array_equal(pasted.image[~new], given.image[~new])
        origins = pasted.image[new][:, :2].astype(int)
        assert (given.label[tuple(origins.T)] == 1).all()
        _, copies = cv2.connectedComponents(new.astype(np.uint8), connectivity=8)
        rows, columns = np.nonzero(new)
        step = origins[:, 1] - columns, origins[:, 1] + columns  # constant in a copy, or in a mirrored one
        for part in range(1, copies.max() + 1):
            chosen = copies[new] == part
            if chosen.sum() == 9 * SHAPE.sum():  # copies that don't touch
                assert len(set((origins[:, 0] - rows)[chosen])) == 1
                assert 1 in (len(set(step[0][chosen])), len(set(step[1][chosen])))


def test_copies_are_where_there_is_room_and_nothing_named():
    """Objects of the classes named stay as they are; places differ; a crop without room is left alone."""
    given = scene({(5, 5): 1, (30, 40): 2, (30, 10): 3})
    named = np.isin(given.label, (1, 2))
    found = []
    for seed in range(60):
        pasted = paste(classes=["pole", "sign"], copies=4)(given, np.random.default_rng(seed))
        assert np.array_equal(pasted.label[named], given.label[named])
        assert np.array_equal(pasted.image[named], given.image[named])
        found.append(pasted.label)
    assert len({x.tobytes() for x in found}) == 60
    covered = np.mean([np.isin(x, (1, 2)) & ~named for x in found], axis=0)
    assert (covered[20:40, 55:75] > 0).mean() > 0.9
    counts = [sum((x == k).sum() for x in found) for k in (1, 2)]
    assert abs(counts[0] / counts[1] - 1) < 0.2  # classes in turn
    full = scene({(1, 1): 1}, size=(17, 14))
    for seed in range(20):
        assert np.array_equal(paste(classes=["pole"])(full, np.random.default_rng(seed)).label, full.label)


@pytest.mark.parametrize("place", [(0, 5), (45, 5), (20, 0), (20, 68)])
def test_what_the_border_cuts_is_not_copied(place):
    given = scene({place: 1})
    assert whole_things(given, 1, 64, 1) == []
    assert paste(classes=["pole"])(given, np.random.default_rng(0)) is given
    inner = tuple(min(max(x, 1), edge - 1) for x, edge in zip(place, (45, 68), strict=True))
    assert len(whole_things(scene({inner: 1}), 1, 64, 1)) == 1


def test_sizes():
    given = scene({(5, 5): 1})
    assert len(whole_things(given, 1, 15, 9 * SHAPE.sum())) == 1
    assert whole_things(given, 1, 14, 1) == []
    assert whole_things(given, 1, 15, 9 * SHAPE.sum() + 1) == []
    assert whole_things(given, 2, 64, 1) == []


def test_what_a_hole_or_a_rotation_cuts_is_not_copied():
    given = scene({(5, 5): 1, (30, 40): 1})
    for keep in (False, True):  # the second object loses its lowest row; a hole one pixel away leaves it whole
        assert len(whole_things(cutout.cut_out(given, (44, 0, 1, 80), keep), 1, 64, 1)) == 1
        assert len(whole_things(cutout.cut_out(given, (46, 0, 1, 80), keep), 1, 64, 1)) == 2
    corner = rotate.rotate(scene({(1, 1): 1, (30, 40): 1}), 25)
    assert (corner.label[:20, :20] == 1).any()  # a piece of it is left
    assert len(whole_things(corner, 1, 64, 1)) == 1


def test_an_ignored_contour_is_no_cut():
    """PASCAL VOC's objects all have one."""
    given = scene({(5, 5): 1})
    around = cv2.dilate((given.label == 1).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    given.label[around & (given.label != 1)] = 255
    assert len(whole_things(given, 1, 64, 1)) == 1


def test_a_mirrored_left_is_a_right():
    given = scene({(20, 30): 3})
    (thing,) = whole_things(given, 3, 64, 1)
    other = mirrored(thing, LABELS.flip_pairs)
    assert (other.class_id, mirrored(other, LABELS.flip_pairs).class_id) == (4, 3)
    assert np.array_equal(other.mask, thing.mask[:, ::-1])
    seen = set()
    for seed in range(40):
        pasted = paste(classes=["left"], copies=1)(given, np.random.default_rng(seed))
        new = pasted.label != given.label
        rows, columns = np.nonzero(new)
        box = new[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        (class_id,) = set(pasted.label[new])
        assert np.array_equal(box, thing.mask if class_id == 3 else other.mask)
        seen.add(int(class_id))
    assert seen == {3, 4}


def test_other_classes_are_not_mirrored_into_others():
    (thing,) = whole_things(scene({(20, 30): 1}), 1, 64, 1)
    assert mirrored(thing, LABELS.flip_pairs).class_id == 1


def test_copies_show_something_even_over_a_hole():
    given = cutout.cut_out(scene({(5, 5): 1}), (25, 0, 35, 80), keep_labels=False)
    pasted = paste(classes=["pole"], copies=8)(given, np.random.default_rng(1))
    new = (pasted.label == 1) & (given.label != 1)
    assert (new & given.filled).any()
    assert not pasted.filled[new].any()
    assert np.array_equal(pasted.filled[~new], given.filled[~new])


def test_pieces_of_two_classes_are_two_objects():
    given = scene({(5, 5): 1})
    given.label[20:35, 5:17] = 2  # touches it from below
    assert len(whole_things(given, 1, 64, 1)) == len(whole_things(given, 2, 64, 1)) == 1
    assert parts(given.label > 0) == 1


def test_names_are_those_of_the_data():
    entries = [{"name": "paste", "classes": ["pole", "bicylist"]}]
    with pytest.raises(
        UserError, match="paste names the class 'bicylist', which the data don't have; did you mean bicy"
    ):
        for_classes(read_augmentations(entries), label_set("camvid"))
    with pytest.raises(UserError, match="'zebra', which the data don't have; there are road, pole, sign, left, right"):
        paste(classes=["zebra"])
