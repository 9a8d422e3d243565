"""The config's fields of the losses: their messages, and the names that weights had before."""

import json
import logging
import math

import pytest
import torch
from helpers.tiny import tiny_config

from modeling_ocrnet import OCRNetConfig, OCRNetForSemanticSegmentation
from modeling_ocrnet.loss_fields_ocrnet import LOSS_NAMES
from modeling_ocrnet.loss_ocrnet import segmentation_loss

NAMES = ", ".join(LOSS_NAMES)


@pytest.mark.parametrize("field", ["losses", "auxiliary_losses"])
@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ({}, r"is {}: there would be no loss; give one a weight, as in {cross_entropy: 1.0, dice: 0.5}"),
        ({"dice": 0, "rmi": 0.0}, r"is {'dice': 0, 'rmi': 0.0}: there would be no loss"),
        ({"dise": 1.0}, rf"names 'dise', expected of {NAMES}; did you mean dice\?"),
        ({"Dice": 1.0}, rf"names 'Dice', expected of {NAMES}; did you mean dice\?"),
        ({"ce": 1.0}, rf"names 'ce', expected of {NAMES}; did you mean cross_entropy\?"),
        ({"tversky_xyz": 1.0}, rf"names 'tversky_xyz', expected of {NAMES}$"),
        *(({"dice": x}, rf"\.dice must be 0 or more, and finite, got {x}") for x in (-1, math.nan, math.inf)),
        *(({"dice": x}, rf"\.dice is {x!r}, expected a number of 0 or more") for x in ("0.5", True, None)),
    ],
)
def test_weights_that_cannot_be_are_refused(field, losses, message):
    with pytest.raises(Exception, match=f"(?m)(^| ){field}{' ' if message[0] != chr(92) else ''}{message}"):
        OCRNetConfig(**{field: losses})
    if field == "losses":  # a config can be changed in place, where nothing is checked
        config = OCRNetConfig()
        config.losses = losses
        with pytest.raises(ValueError, match="^losses"):
            segmentation_loss(torch.zeros(1, 2, 4, 4), torch.zeros(1, 4, 4, dtype=torch.long), config)


@pytest.mark.parametrize(
    ("field", "bad", "good"),
    [
        ("label_smoothing", (-0.1, 1, math.nan), (0, 0.1)),
        ("focal_gamma", (-1, math.inf, math.nan), (0, 5)),
        ("focal_alpha", (-0.1, 1.5, math.nan), (0, 0.25, 1, None)),
        ("bootstrap_min_kept", (0, -4), (1, None)),
        ("bootstrap_threshold", (-0.1, math.nan), (0, 0.3)),
        ("rmi_pooling", ("mean",), ("average", "max")),
    ],
)
def test_numbers_of_single_losses(field, bad, good):
    for value in bad:
        with pytest.raises(Exception, match=rf"{field}.* got {value}"):
            OCRNetConfig(**{field: value})
    for value in good:
        assert getattr(OCRNetConfig(**{field: value}), field) == value


def test_a_field_that_no_loss_reads_is_said_once(caplog):
    """An error would keep old files from being read; recipes have one."""
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            OCRNetConfig(losses={"dice": 1.0, "rmi": 0.5}, focal_gamma=3.0)
        OCRNetConfig(losses={"dice": 1.0}, auxiliary_losses={"focal": 1.0}, focal_gamma=3.0)
        OCRNetConfig(losses={"dice": 1.0})
    assert [x.getMessage() for x in caplog.records] == [
        "focal_gamma is given, but focal alone can read it, and losses has dice and rmi: leave focal_gamma out (null), "
        "or add focal to losses"
    ]


@pytest.mark.parametrize(
    ("old", "losses"),
    [
        ({}, {"cross_entropy": 1.0}),
        ({"cross_entropy_weight": 0.5}, {"cross_entropy": 0.5}),
        ({"lovasz_weight": 0.5}, {"cross_entropy": 1.0, "lovasz": 0.5}),
        ({"lovasz_weight": 2, "cross_entropy_weight": 0}, {"lovasz": 2}),
        ({"lovasz_weight": 0.5, "losses": {"lovasz": 0.5, "dice": 1.0}}, {"lovasz": 0.5, "dice": 1.0}),
        ({"lovasz_weight": 0.0, "losses": {"dice": 1.0}}, {"dice": 1.0}),
    ],
)
def test_old_names_of_weights_are_read(old, losses, tmp_path):
    """As keywords, and from a config's file; they are never written."""
    config = OCRNetConfig(**old)
    assert config.losses == losses
    assert (config.cross_entropy_weight, config.lovasz_weight) == tuple(
        losses.get(x, 0) for x in ("cross_entropy", "lovasz")
    )
    config.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    assert not {"cross_entropy_weight", "lovasz_weight"} & written.keys()
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "ocrnet", **old}))
    assert OCRNetConfig.from_pretrained(tmp_path).losses == losses


@pytest.mark.parametrize("name", ["cross_entropy_weight", "lovasz_weight"])
def test_an_old_name_that_contradicts_the_new_one_is_refused(name, tmp_path):
    entry = name.removesuffix("_weight")
    message = rf"losses is {{'dice': 1.0}}, but {name}, the old name of its {entry}, is 0.5: leave {name} out"
    with pytest.raises(ValueError, match=message):
        OCRNetConfig(losses={"dice": 1.0}, **{name: 0.5})
    OCRNetConfig().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=message):
        OCRNetConfig.from_pretrained(tmp_path, losses={"dice": 1.0}, **{name: 0.5})


def test_old_weights_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="cross_entropy_weight and lovasz_weight are both 0"):
        OCRNetConfig(cross_entropy_weight=0, lovasz_weight=0.0)
    for value in (-1.0, math.nan):
        with pytest.raises(ValueError, match=f"^lovasz_weight must be 0 or more, and finite, got {value}"):
            OCRNetConfig(lovasz_weight=value)


def test_old_names_over_a_file_and_in_place_change_their_entry(tmp_path):
    OCRNetConfig(losses={"cross_entropy": 1.0, "dice": 0.5}).save_pretrained(tmp_path)
    config = OCRNetConfig.from_pretrained(tmp_path, lovasz_weight=0.25)
    assert config.losses == {"cross_entropy": 1.0, "dice": 0.5, "lovasz": 0.25}
    config.cross_entropy_weight = 2.0
    assert config.losses == {"cross_entropy": 2.0, "dice": 0.5, "lovasz": 0.25}
    assert OCRNetConfig().losses == {"cross_entropy": 1.0}


@pytest.mark.parametrize("auxiliary", [None, {"lovasz": 1.0}])
def test_each_head_has_its_losses(auxiliary, tiny_batch):
    config, batch = tiny_batch
    config.losses, config.auxiliary_losses = {"cross_entropy": 1.0, "dice": 0.5}, auxiliary
    output = OCRNetForSemanticSegmentation(config)(**batch)
    for logits, losses, found in (
        (output.logits, config.losses, output.ocr_loss),
        (output.auxiliary_logits, auxiliary or config.losses, output.auxiliary_loss),
    ):
        torch.testing.assert_close(found, segmentation_loss(logits, batch["labels"], config, losses))
    torch.testing.assert_close(output.loss, output.ocr_loss + 0.4 * output.auxiliary_loss)


@pytest.fixture
def tiny_batch():
    labels = torch.randint(0, 3, (1, 64, 64))
    return tiny_config(num_labels=3), {"pixel_values": torch.randn(1, 3, 64, 64), "labels": labels}
