"""What `ocrnet configure` sees in drawn masks, against counts by hand and SciPy's labelling."""

import json
import math

import numpy as np
import pytest
from helpers.own_data import photo, write
from scipy import ndimage

from modeling_ocrnet import data
from modeling_ocrnet.common.errors import UserError
from modeling_ocrnet.data import DataSource
from modeling_ocrnet.training import data_facts
from modeling_ocrnet.training.data_facts import look_at_data, object_thickness


@pytest.fixture
def facts_of(tmp_path):
    """`facts_of([mask, ...], names)`: what is seen in a folder of such masks."""

    def look(masks, names=("ground", "pole", "ball")):
        for i, mask in enumerate(masks):
            photo(tmp_path / f"images/train/{i:03}.png", mask.shape)
            write(tmp_path / f"masks/train/{i:03}.png", mask)
        (tmp_path / "classes.json").write_text(json.dumps(list(names)))
        source = DataSource("folder", str(tmp_path))
        return look_at_data(data.load(source, split="train"), 3, data.label_set(source))

    return look


def drawn(height=40, width=60):
    """Ground, a pole of 4 x 30 pixels, and a square ball of 10 x 10; a row isn't labelled."""
    mask = np.zeros((height, width), np.uint8)
    mask[5:35, 10:14] = 1
    mask[20:30, 30:40] = 2
    mask[0] = 255
    return mask


def test_numbers_sizes_and_shares(facts_of):
    found = facts_of([drawn(), np.zeros((20, 30), np.uint8), drawn()])
    assert (found.names, found.images, found.val_images, found.read) == (("ground", "pole", "ball"), 3, 3, 3)
    assert (found.sizes, found.width, found.height, found.smallest, found.largest) == (2, 60, 40, 20, 60)
    assert (found.edge, found.aspect) == (40, 1.5)
    labelled = 2 * 39 * 60 + 600
    assert found.shares == pytest.approx([1 - 440 / labelled, 240 / labelled, 200 / labelled])
    assert found.names[found.rarest] == "ball"
    weights = np.array(found.shares) ** -0.4
    assert found.weights == pytest.approx(weights / (weights @ found.shares))


def test_thickness(facts_of):
    found = facts_of([drawn()] * 5)
    assert found.thickness[1:] == (4.0, 10.0)
    assert found.thinnest[1] == "pole"


def test_few_objects_say_nothing_of_thickness(facts_of):
    found = facts_of([drawn()] * 4)
    assert found.thickness == (None, None, None)
    assert found.thinnest == (math.inf, "")


def test_a_class_without_pixels_is_neither_rare_nor_thin(facts_of):
    mask = drawn()
    mask[mask == 2] = 0
    found = facts_of([mask] * 5)
    assert found.thickness[2] is None
    assert found.shares[2] == 0
    assert (found.names[found.rarest], found.thinnest[1]) == ("pole", "pole")


def test_objects_are_scipys():
    """Random blobs: areas and boxes of what hangs together over corners, too."""
    blobs = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(90, 70)), 2) > 0.05
    labelled, count = ndimage.label(blobs, np.ones((3, 3)))
    boxes = ndimage.find_objects(labelled)
    expected = []
    for i, box in enumerate(boxes, start=1):
        area = int((labelled == i).sum())
        expected.append((area / max(x.stop - x.start for x in box), area))
    assert count > 5
    assert np.array(sorted(object_thickness(blobs))) == pytest.approx(np.array(sorted(expected)))
    assert object_thickness(np.zeros((4, 4), bool)) == []


def test_half_of_the_pixels_lie_in_thinner_objects(facts_of):
    """Specks weigh what they cover: a hundred of one pixel beside a ball of 20 x 20."""
    mask = np.zeros((64, 64), np.uint8)
    mask[40:60, 40:60] = 2
    mask[0:20:2, 0:20:2] = 2
    assert facts_of([mask]).thickness[2] == 20.0


def test_large_masks_are_thinned_out(facts_of, monkeypatch):
    """Every second row and column: the pole of 4 pixels has 2 there, and 4 in the original's pixels."""
    monkeypatch.setattr(data_facts, "_OBJECT_PIXELS", 40 * 60 // 3)
    assert facts_of([drawn()] * 5).thickness[1:] == (4.0, 10.0)


def test_the_sample_is_spread_over_the_split(facts_of, monkeypatch):
    monkeypatch.setattr(data_facts, "MASKS", 4)
    masks = [np.full((8, 8), 2 if i >= 8 else 0, np.uint8) for i in range(16)]
    found = facts_of(masks)
    assert (found.images, found.read) == (16, 4)
    assert found.shares == (0.5, 0.0, 0.5)
    monkeypatch.setattr(data_facts, "PIXELS", 10)
    monkeypatch.setattr(data_facts, "MASKS", 16)
    assert facts_of(masks).read == 8  # the first that are read together


def test_nothing_labelled_is_refused(facts_of, monkeypatch):
    """In the sample: the checks before look further."""
    monkeypatch.setattr(data_facts, "MASKS", 1)
    with pytest.raises(UserError, match="no pixel is labelled in 1 masks, evenly spaced over the 2 of the training"):
        facts_of([np.full((8, 8), 255, np.uint8), drawn()])
