"""What belongs to single classes follows them: it goes, with one warning, when other classes come."""

import logging

import pytest
import torch
from accelerate.state import AcceleratorState
from helpers.tiny import tiny_config
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, AutoModelForSemanticSegmentation, Trainer, TrainingArguments
from transformers.utils import logging as transformers_logging

from modeling_ocrnet import OCRNetConfig, OCRNetForSemanticSegmentation

OLD = [f"old {i}" for i in range(19)]
OF_CLASSES = {
    "palette": [[i, 0, 0] for i in range(19)],
    "label_ids": list(range(7, 26)),
    "flip_pairs": [[17, 18]],
    "class_weights": [1.0 + i for i in range(19)],
}


def numbered(names):
    return {"id2label": dict(enumerate(names)), "label2id": {name: i for i, name in enumerate(names)}}


@pytest.fixture
def warnings(caplog):
    transformers_logging.enable_propagation()
    with caplog.at_level(logging.WARNING):
        yield lambda: [x for x in caplog.messages if "emptied" in x]
    transformers_logging.disable_propagation()


@pytest.fixture
def checkpoint(tmp_path):
    """A model of 19 classes, of which everything is known."""
    model = OCRNetForSemanticSegmentation(tiny_config(**numbered(OLD), **OF_CLASSES))
    model.save_pretrained(tmp_path / "old")
    return tmp_path / "old"


def of_classes(config):
    return {name: getattr(config, name) for name in OF_CLASSES}


EMPTY = {"palette": None, "label_ids": None, "flip_pairs": [], "class_weights": None}
OTHERS = {
    "a number": ({"num_labels": 2}, ["LABEL_0", "LABEL_1"]),
    "another number of names": (numbered(["a", "b", "c", "d", "e"]), ["a", "b", "c", "d", "e"]),
    "number and names": ({"num_labels": 3, **numbered(["a", "b", "c"])}, ["a", "b", "c"]),
    "only the way back": ({"label2id": {"a": 0, "b": 1}}, ["a", "b"]),
    "as many other names": (numbered([f"new {i}" for i in range(19)]), [f"new {i}" for i in range(19)]),
    "more than 255": ({"num_labels": 300}, [f"LABEL_{i}" for i in range(300)]),
}


@pytest.mark.parametrize(("given", "names"), OTHERS.values(), ids=OTHERS)
def test_other_classes_leave_nothing_of_the_old_ones(given, names, checkpoint, tmp_path, warnings):
    model = AutoModelForSemanticSegmentation.from_pretrained(checkpoint, ignore_mismatched_sizes=True, **given)
    config = model.config
    assert of_classes(config) == EMPTY
    assert config.id2label == dict(enumerate(names))
    assert config.label2id == {name: i for i, name in enumerate(names)}
    assert len(warnings()) == 1
    assert all(name in warnings()[0] for name in OF_CLASSES)
    assert not 0 <= config.loss_ignore_index < len(names)

    model.save_pretrained(tmp_path / "new")
    again = OCRNetForSemanticSegmentation.from_pretrained(tmp_path / "new")
    assert again.config.id2label == dict(enumerate(names))
    assert len(warnings()) == 1
    assert again.config.loss_ignore_index == config.loss_ignore_index


def test_the_same_classes_keep_what_is_known_of_them(checkpoint, warnings):
    for given in ({}, {"num_labels": 19}, numbered(OLD)):
        assert of_classes(OCRNetConfig.from_pretrained(checkpoint, **given)) == OF_CLASSES
    assert not warnings()


def test_keys_and_names_are_what_a_config_needs(checkpoint):
    """JSON's keys are texts; classes count from 0; both ways must agree."""
    config = OCRNetConfig.from_pretrained(checkpoint, id2label={"0": "a", "1": "b"}, label2id={"a": "0", "b": "1"})
    assert config.id2label == {0: "a", 1: "b"}
    config.id2label = {"0": "x", "1": "y", "2": "z"}
    assert (config.id2label[2], config.label2id["z"]) == ("z", 2)
    with pytest.raises(ValueError, match=r"id2label names the classes \[1, 2\], expected 0 to 1"):
        config.id2label = {1: "a", 2: "b"}
    with pytest.raises(ValueError, match="contradict each other"):
        OCRNetConfig.from_pretrained(checkpoint, id2label={0: "a", 1: "b"}, label2id={"a": 1, "b": 0})


def test_configs_share_nothing(checkpoint):
    one, two = (OCRNetConfig.from_pretrained(checkpoint, num_labels=3) for _ in range(2))
    one.flip_pairs.append([0, 1])
    assert two.flip_pairs == []


def test_what_is_not_labelled_follows_the_number_of_classes(checkpoint, caplog):
    transformers_logging.enable_propagation()
    config = OCRNetConfig.from_pretrained(checkpoint, num_labels=300)
    assert config.loss_ignore_index == 65535
    assert "loss_ignore_index is now 65535 for 300 classes (it was 255)" in caplog.text
    config.num_labels = 3
    assert config.loss_ignore_index == 255
    own = OCRNetConfig.from_pretrained(checkpoint, loss_ignore_index=-100)
    own.num_labels = 300
    assert own.loss_ignore_index == -100
    transformers_logging.disable_propagation()


def test_what_is_given_of_the_new_classes_stays(checkpoint):
    given = {"palette": [[1, 2, 3], [4, 5, 6]], "class_weights": [1.0, 2.0]}
    # whatever comes first: the classes are taken before what is said of them
    config = AutoConfig.from_pretrained(checkpoint, **given, **numbered(["a", "b"]))
    assert of_classes(config) == {**EMPTY, **given}


def test_a_number_that_the_names_contradict_is_refused(checkpoint):
    with pytest.raises(ValueError, match="num_labels is 4, but id2label names 2 classes"):
        OCRNetConfig.from_pretrained(checkpoint, num_labels=4, **numbered(["a", "b"]))


def test_classes_changed_on_a_config_in_use(checkpoint, warnings):
    by_number, by_name = (OCRNetConfig.from_pretrained(checkpoint) for _ in range(2))
    by_number.num_labels = 4
    by_name.id2label = {i: f"new {i}" for i in range(19)}
    assert of_classes(by_number) == of_classes(by_name) == EMPTY
    assert by_name.label2id["new 18"] == 18
    assert len(warnings()) == 2


def test_a_config_changed_in_place_can_be_saved(checkpoint, tmp_path, warnings):
    config = OCRNetConfig.from_pretrained(checkpoint)
    del config.id2label[18]
    config.save_pretrained(tmp_path / "new")
    assert of_classes(OCRNetConfig.from_pretrained(tmp_path / "new")) == EMPTY
    assert len(warnings()) == 1


def test_trainer_trains_other_classes_to_the_end(checkpoint, tmp_path):
    names = ["a", "b", "c", "d", "e"]
    model = AutoModelForSemanticSegmentation.from_pretrained(
        checkpoint, ignore_mismatched_sizes=True, **numbered(names)
    )
    samples = [{"pixel_values": torch.randn(3, 32, 64), "labels": torch.randint(0, 5, (32, 64))} for _ in range(4)]
    arguments = TrainingArguments(
        output_dir=str(tmp_path / "run"),
        max_steps=2,
        per_device_train_batch_size=2,
        save_strategy="steps",
        save_steps=1,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    )
    Trainer(model, arguments, train_dataset=samples).train()
    AcceleratorState._reset_state(reset_partial_state=True)
    again = AutoModelForSemanticSegmentation.from_pretrained(tmp_path / "run" / "checkpoint-2")
    assert list(again.config.id2label.values()) == names
    for (name, theirs), ours in zip(again.state_dict().items(), model.state_dict().values(), strict=True):
        torch.testing.assert_close(theirs, ours, msg=name)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("palette", [[0, 0, 256], [1, 1, 1]]),
        ("palette", [[0, 0], [1, 1]]),
        ("label_ids", [0, 65536]),
        ("label_ids", [-1, 0]),
    ],
)
def test_what_pictures_and_files_cannot_hold_is_refused(field, value):
    """Written as bytes, a colour of 256 would be 0, and an id of 65536 too."""
    with pytest.raises(StrictDataclassError, match=f"{field} .*expected"):
        tiny_config(num_labels=2, **{field: value})
