"""Classes are matched by their names wherever a model meets data."""

import json
import logging

import numpy as np
import pytest
from helpers import reference
from helpers.tiny import undecided
from PIL import Image

from modeling_ocrnet import OCRNetImageProcessor
from modeling_ocrnet.evaluation.class_names import match_classes
from modeling_ocrnet.evaluation.evaluate_checkpoint import EvaluationArguments, evaluate_checkpoint
from modeling_ocrnet.export.parity import compare
from modeling_ocrnet.inference.segmentation import InferenceOptions, segment

NAMES = ["road", "tree", "car", "sky", "bus"]
ORDER = [3, 0, 4, 1, 2]  # where the model's classes stand in the data


def picture(seed):
    blocks = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize((96, 64), Image.Resampling.NEAREST)


@pytest.fixture
def model():
    (image,) = OCRNetImageProcessor()(picture(0))["pixel_values"]
    return undecided(reference.mmseg_model(id2label=dict(enumerate(NAMES))), image)


@pytest.fixture
def checkpoint(model, tmp_path):
    model.save_pretrained(tmp_path / "model")
    OCRNetImageProcessor().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def write_data(model, root, names, order):
    """What the model itself says of two pictures, as masks of data that names its ids in an order of its own."""
    for folder in ("images", "masks"):
        (root / folder / "val").mkdir(parents=True)
    for i in range(2):
        picture(i).save(root / "images" / "val" / f"{i}.png")
        (label_map,) = segment(model, OCRNetImageProcessor(), [picture(i)])
        assert len(np.unique(label_map)) > 1
        Image.fromarray(np.array(order, np.uint8)[label_map]).save(root / "masks" / "val" / f"{i}.png")
    (root / "classes.json").write_text(json.dumps({"classes": names, "ignore_ids": [255]}))
    return root


def permuted():
    names = [""] * 5
    for index, place in enumerate(ORDER):
        names[place] = NAMES[index]
    return names


def test_data_in_another_order_is_scored_by_its_names(model, checkpoint, tmp_path):
    root = write_data(model, tmp_path / "own", permuted(), ORDER)
    task = EvaluationArguments(
        name="folder", root=str(root), workers=0, save_predictions=str(tmp_path / "ids"), boundaries=True
    )
    record = evaluate_checkpoint(str(checkpoint), task, InferenceOptions())
    assert record["mean_iou"] == record["overall_accuracy"] == record["boundary_iou"] == 1.0
    for i in range(2):  # predictions have the data's ids
        ours, theirs = (np.asarray(Image.open(x / f"{i}.png")) for x in (tmp_path / "ids", root / "masks" / "val"))
        np.testing.assert_array_equal(ours, theirs)


def test_names_that_do_not_tell_the_order_are_refused(model, checkpoint, tmp_path):
    names = permuted()
    names[0] = "lorry"
    root = write_data(model, tmp_path / "own", names, ORDER)
    with pytest.raises(ValueError, match="'road' is class 0 of the first, 3 of the second, and other names differ"):
        evaluate_checkpoint(
            str(checkpoint), EvaluationArguments(name="folder", root=str(root), workers=0), InferenceOptions()
        )


def test_exports_are_compared_by_names(model):
    image = picture(0)
    (label_map,) = segment(model, OCRNetImageProcessor(), [image])
    assert len(np.unique(label_map)) > 1
    reference_map = Image.fromarray(np.array(ORDER, np.uint8)[label_map])
    rows = [{"image": image, "label": reference_map}, {"image": image, "label": Image.new("L", image.size, 255)}]
    agreement = compare(model, model, OCRNetImageProcessor(), rows, np.array(ORDER))
    assert (agreement.before, agreement.after) == (1.0, 1.0)
    nothing = compare(model, model, OCRNetImageProcessor(), rows[1:])
    assert (nothing.before, nothing.after) == (None, None)  # a mean over nothing is none


def test_matching(caplog):
    """The order that comes out, and what is said, for pairs of lists written by hand."""
    caplog.set_level(logging.INFO, "modeling_ocrnet")
    assert match_classes(["a", "B "], ["A", "b"], "m", "d") is None
    assert match_classes(["caf\u00e9", "b"], ["cafe\u0301", "b"], "m", "d") is None
    assert caplog.text == ""
    assert match_classes(["a", "b", "c"], ["C", "a", "b"], "m", "d").tolist() == [1, 2, 0]
    assert "the same classes in another order" in caplog.text
    names = ["traffic-light", "road surface"]
    assert match_classes(names, ["Road_Surface", "traffic light"], "m", "d").tolist() == [1, 0]
    caplog.clear()
    assert match_classes(["a", "b"], ["a", "x"], "m", "d") is None
    assert "1 of 2 classes have different names ('b' for 'x'); they are assumed to mean the same" in caplog.text
    with pytest.raises(ValueError, match="m has 3 classes, d has 2"):
        match_classes(["a", "b", "c"], ["a", "b"], "m", "d")
    with pytest.raises(ValueError, match="'a' is class 0 of the first, 1 of the second"):
        match_classes(["a", "b"], ["x", "a"], "m", "d")
