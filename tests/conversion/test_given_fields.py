"""Fields that are given beside a checkpoint: what is wrong with one is said on one line, before anything is written."""

import json
import re

import pytest
import torch
from helpers import reference

from modeling_ocrnet import OCRNetConfig
from modeling_ocrnet.cli import convert
from modeling_ocrnet.conversion.convert import convert_checkpoint
from modeling_ocrnet.conversion.given_fields import GivenFields
from modeling_ocrnet.loss_fields_ocrnet import LOSS_NAMES

CLASSES = ["road", "sidewalk", "building", "wall", "fence"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a checkpoint of five classes and 24 channels, `x.pth`; `place(*options)` converts it."""
    meta = {"dataset_meta": {"classes": tuple(CLASSES)}, "mmseg_version": "1.2.2"}
    torch.save({"meta": meta, "state_dict": reference.foreign_state("mmseg_hrnet_ocr_tiny")}, tmp_path / "x.pth")
    monkeypatch.chdir(tmp_path)

    def run(*options: str) -> str | None:
        """What the command ends with, on one line; `None` if all went well."""
        code: object = None
        try:
            convert.main(["x.pth", "--output", "out", *options])
        except SystemExit as ended:
            code = ended.code
        assert (tmp_path / "out").exists() == (code is None)
        if code is None:
            return None
        assert isinstance(code, str)  # which exits with 1
        assert "\n" not in code
        return code.partition(": ")[2]

    return run


WRONG = {
    '{"droput": 0.1}': "'droput' isn't a field of OCRNetConfig; did you mean dropout?",
    '{"backbone_config": {"fuse_upsampel": "size"}}': (
        "'backbone_config.fuse_upsampel' isn't a field of HRNetConfig; did you mean fuse_upsample?"
    ),
    '{"dropout": "much"}': "dropout is 'much', expected a number",
    '{"dropout": null}': "dropout is None, expected a number",
    '{"dropout": 1.5}': "dropout must be 0 or more, and below 1, got 1.5",
    '{"align_corners": 1.5}': "align_corners is 1.5, expected true or false",
    '{"palette": 3}': "palette is 3, expected a list of lists of whole numbers or null",
    '{"class_weights": [1, "a"]}': "class_weights is [1, 'a'], expected a list of numbers or null",
    '{"label_ids": [7, 8]}': "label_ids has 2 entries for 5 classes",
    '{"loss_normalizer": "some"}': "loss_normalizer is 'some', expected one of all, valid",
    '{"losses": ["dice"]}': "losses is ['dice'], expected fields and their values or null",
    '{"losses": {"dise": 1}}': (f"losses names 'dise', expected of {', '.join(LOSS_NAMES)}; did you mean dice?"),
    '{"losses": {"dice": 1}, "lovasz_weight": 2}': (
        "losses is {'dice': 1}, but lovasz_weight, the old name of its lovasz, is 2: leave lovasz_weight out"
    ),
    '{"cross_entropy_weight": "much"}': "cross_entropy_weight is 'much', expected a number of 0 or more",
    '{"hidden_act": 5}': "hidden_act is 5, expected a text",
    '{"ocr_channels": 64}': "ocr_channels is 64, but the weights fit 24: leave it out",
    '{"ocr_channels": -3, "dropout": 0.1}': "ocr_channels is -3, but the weights fit 24: leave it out",
    '{"num_labels": 7}': "num_labels is 7, but the weights have 5 classes: leave it out",
    '{"id2label": {"0": "road"}}': "id2label names 1 classes, but the weights have 5",
    '{"id2label": ["a", "b"]}': "id2label is ['a', 'b'], expected names by index, as {0: road, 1: sky}",
    '{"dtype": "float99"}': "dtype is 'float99', but the weights keep their own: leave it out",
    '{"model_type": "hrnet"}': "model_type is 'hrnet', but the weights are of 'ocrnet': leave it out",
    '{"backbone_config": 3}': "backbone_config is 3, expected some of its fields, each with its value",
    '{"backbone_config": {"fuse_upsample": "cubic"}}': (
        "backbone_config.fuse_upsample is 'cubic', expected one of scale_factor, size, nearest"
    ),
    '{"backbone_config": {"stage_modules": [1, 1]}}': "stage_modules must be four positive numbers, got [1, 1]",
    '{"ocr_in_indices": [0, 9]}': (
        "ocr_in_indices is [0, 9], but HRNetBackbone has 4 feature maps, with [4, 8, 16, 32] channels: choose indices "
        "from 0 to 3"
    ),
}


@pytest.mark.parametrize("content", WRONG)
def test_a_wrong_field_is_named_with_its_file(content, place, tmp_path):
    (tmp_path / "fields.json").write_text(content)
    said = place("--model.config", "fields.json")
    assert said is not None
    start, _, rest = said.partition(": ")
    assert start == "fields.json"
    assert rest == WRONG[content]


def test_an_activation_that_there_is_not(place, tmp_path):
    """Those which transformers knows are listed."""
    (tmp_path / "fields.yaml").write_text("hidden_act: rulu\n")
    said = place("--config", "fields.yaml")
    assert said.startswith("fields.yaml: hidden_act is 'rulu', expected one of ")
    assert {"relu", "gelu", "silu"} < set(said.partition("one of ")[2].split(", "))


def test_the_place_is_where_the_value_stands(place, tmp_path):
    (tmp_path / "fields.json").write_text('{"dropout": 0.1, "auxiliary_dropout": 2}')
    assert place("--model.config", "fields.json", "--model.config.dropout", "3") == (
        "--model.config: dropout must be 0 or more, and below 1, got 3"
    )
    both = ("--model.config", "fields.json", "--model.config.auxiliary_dropout", "0.5")
    assert place(*both) is None
    written = OCRNetConfig.from_pretrained(tmp_path / "out")
    assert (written.dropout, written.auxiliary_dropout) == (0.1, 0.5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"dropout": 0.1', r"fields.json: not a JSON or YAML file of the config's fields \(.* line 1.*\)"),
        ("", r"fields.json: not a JSON or YAML file of the config's fields \(it holds NoneType, expected fields .*\)"),
        ("[1, 2]", r"fields.json: not a .* \(it holds list, expected fields and values\)"),
        ('{"dropout": 0.1, "dropout": 0.2}', r"fields.json: .* \('dropout' in line 1 occurs twice: keep one of them\)"),
        (None, r"--model.config fields.json: no such file; give .* as in --model.config.dropout 0.1"),
    ],
)
def test_a_file_that_holds_no_fields(content, message, place, tmp_path):
    if content is not None:
        (tmp_path / "fields.json").write_text(content)
    assert re.fullmatch(message, place("--model.config", "fields.json"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{dropout: 0.1", "--model.config {dropout: 0.1: neither JSON nor YAML ("),
        ("[1]", "--model.config [1]: expected fields and values, as in '{dropout: 0.1}'"),
        ("{dropout: 3}", "--model.config: dropout must be 0 or more, and below 1, got 3"),
    ],
)
def test_fields_on_the_command_line(text, message, place):
    assert place("--model.config", text).startswith(message)


def test_several_fields_that_fit_only_together_are_not_blamed(place, tmp_path):
    """And names for the classes, which the checkpoint needn't have."""
    names = {str(i): f"class {i}" for i in range(5)}
    (tmp_path / "fields.json").write_text(json.dumps({"id2label": names, "label_ids": [1, 2, 3, 4, 9]}))
    assert place("--model.config", "fields.json") is None
    written = OCRNetConfig.from_pretrained(tmp_path / "out")
    assert list(written.id2label.values()) == list(names.values())
    assert written.label_ids == [1, 2, 3, 4, 9]


def test_names_in_a_backbones_config_are_no_classes():
    """A backbone has no number of classes to compare them with."""
    given = GivenFields({"id2label": {0: "road"}})
    assert given.over({"model_type": "hrnet"}) == {"model_type": "hrnet", "id2label": {0: "road"}}


def test_a_wrong_checkpoint_is_not_blamed_on_a_field(place, tmp_path):
    state = reference.foreign_state("mmseg_hrnet_ocr_tiny")
    state["decode_head.1.conv_seg.bias"] = torch.ones(7)
    torch.save(state, tmp_path / "y.pth")
    with pytest.raises(ValueError, match=r"y\.pth: 1 weights of another shape"):
        convert_checkpoint(str(tmp_path / "y.pth"), str(tmp_path / "out"), overrides={"dropout": 0.1})
