"""Losses in a recipe: what is read, what is refused before anything starts, and recipes of older releases."""

import pytest
import yaml

from modeling_ocrnet.cli.recipe_parser import parse_recipe, recipe_parser
from modeling_ocrnet.loss_fields_ocrnet import LOSS_NAMES
from modeling_ocrnet.training.recipe import Recipe, as_dict, differences
from modeling_ocrnet.training.recipe_model import ModelRecipe

NAMES = ", ".join(LOSS_NAMES)


@pytest.fixture
def read(tmp_path, capsys):
    """`read(fields, *options)`: the recipe of a file with these fields in model.config, or the error's one line."""

    def parse(fields, *options):
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({"model": {"config": fields}}))
        try:
            return parse_recipe(recipe_parser(), ["--config", str(tmp_path / "recipe.yaml"), *options])[0]
        except SystemExit:
            _, _, message = capsys.readouterr().err.partition("\nerror: ")
            assert message.count("\n") == 1
            return message.strip()

    return parse


def test_losses_stand_in_the_recipe_as_they_are_trained(read):
    losses = {"losses": {"cross_entropy": 1.0, "dice": 0.5}, "auxiliary_losses": {"cross_entropy": 1.0}}
    recipe = read(losses)
    assert as_dict(recipe)["model"]["config"] == losses
    over = read(losses, "--model.config.losses", "{cross_entropy: 1, rmi: 0.5}", "--model.config.rmi_pooling", "max")
    assert over.model.config == {
        "losses": {"cross_entropy": 1, "rmi": 0.5},
        "auxiliary_losses": {"cross_entropy": 1.0},
        "rmi_pooling": "max",
    }
    theirs = as_dict(recipe)
    assert differences(as_dict(over), theirs) == [
        "model.config.losses.dice: 0.5 in the checkpoint, now None",
        "model.config.losses.rmi: None in the checkpoint, now 0.5",
        "model.config.rmi_pooling: None in the checkpoint, now 'max'",
    ]


def test_a_single_weight_on_the_command_line_would_replace_the_others(read):
    assert read({}, "--model.config.losses.dice", "0.5") == (
        "--model.config.losses.dice: give all of --model.config.losses at once, as in --model.config.losses "
        "'{cross_entropy: 1.0, dice: 0.5}'"
    )


@pytest.mark.parametrize("field", ["losses", "auxiliary_losses"])
@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ({"dise": 1.0}, f" names 'dise', expected of {NAMES}; did you mean dice?"),
        (["dice"], " is ['dice'], expected losses, each with its weight, as in {cross_entropy: 1.0, dice: 0.5}"),
        ("dice", " is 'dice', expected losses, each with its weight, as in {cross_entropy: 1.0, dice: 0.5}"),
        ({"dice": -1}, ".dice must be 0 or more, and finite, got -1"),
        ({"dice": float("nan")}, ".dice must be 0 or more, and finite, got nan"),
        ({"dice": True}, ".dice is True, expected a number of 0 or more"),
        ({"dice": None}, ".dice is None, expected a number of 0 or more"),
        ({"dice": 0}, " is {'dice': 0}: there would be no loss; give one a weight, as in {cross_entropy: 1.0, ..."),
        ({}, " is {}: there would be no loss; give one a weight, as in {cross_entropy: 1.0, ..."),
    ],
)
def test_losses_that_cannot_be_are_refused(read, field, losses, message):
    assert read({field: losses}).startswith(f"model.config.{field}{message.removesuffix('...')}")


UNREAD = {
    "class_weights": ([1.0, 2.0], ("cross_entropy", "bootstrapped_cross_entropy")),
    "label_smoothing": (0.1, ("cross_entropy",)),
    "ohem_threshold": (0.7, ("cross_entropy",)),
    "ohem_min_kept": (1000, ("cross_entropy",)),
    "focal_gamma": (2.0, ("focal",)),
    "focal_alpha": (0.25, ("focal",)),
    "rmi_pooling": ("max", ("rmi",)),
    "bootstrap_min_kept": (1000, ("bootstrapped_cross_entropy",)),
    "bootstrap_threshold": (0.3, ("bootstrapped_cross_entropy",)),
}


@pytest.mark.parametrize("field", UNREAD)
def test_a_field_that_no_loss_reads_is_refused(read, field):
    value, readers = UNREAD[field]
    assert read({"losses": {"dice": 1.0, readers[0]: 0}, field: value}) == (
        f"model.config.{field} is given, but {' and '.join(readers)} alone can read it, and losses has dice: leave "
        f"{field} out (null), or add {readers[0]} to losses"
    )
    for reader in readers:
        for losses in ({"losses": {reader: 1.0}}, {"losses": {"dice": 1.0}, "auxiliary_losses": {reader: 1.0}}):
            assert isinstance(read({**losses, field: value}), Recipe)
    assert isinstance(read({"losses": {"dice": 1.0}, field: value}, f"--model.config.{field}", "null"), Recipe)


def test_losses_of_a_head_that_teaches_nothing_are_refused(read):
    said = read({"auxiliary_losses": {"dice": 1.0}, "auxiliary_loss_weight": 0})
    assert said.startswith("model.config.auxiliary_losses is given, but auxiliary_loss_weight is 0")


OLD = {"cross_entropy_weight": 0.5, "lovasz_weight": 2.0, "dropout": 0.1}


def test_old_names_of_weights_are_read(read):
    """From a file and the command line; today's name is what is written. A checkpoint's recipe resumes."""
    recipe = read(OLD)
    assert recipe.model.config == {"losses": {"cross_entropy": 0.5, "lovasz": 2.0}, "dropout": 0.1}
    assert read(OLD, "--model.config.lovasz_weight", "0").model.config["losses"] == {"cross_entropy": 0.5}
    theirs = as_dict(recipe)
    theirs["model"]["config"] = dict(OLD)
    assert differences(as_dict(recipe), theirs) == []
    theirs["model"]["config"]["lovasz_weight"] = 1.0
    assert differences(as_dict(recipe), theirs) == ["model.config.losses.lovasz: 1.0 in the checkpoint, now 2.0"]


def test_an_old_recipe_may_hold_what_nothing_reads():
    fields = {"cross_entropy_weight": 0, "lovasz_weight": 1.0, "ohem_min_kept": 10}
    assert ModelRecipe(config=fields).config == {"losses": {"lovasz": 1.0}, "ohem_min_kept": 10}


def test_an_old_name_that_contradicts_the_new_one_is_refused(read):
    assert read({"losses": {"dice": 1.0}, "lovasz_weight": 0.5}) == (
        "model.config.losses is {'dice': 1.0}, but lovasz_weight, the old name of its lovasz, is 0.5: leave "
        "lovasz_weight out"
    )
    assert read({"cross_entropy_weight": 0}) == (
        "model.config.cross_entropy_weight and lovasz_weight are both 0: there would be no loss"
    )
    assert read({"losses": ["dice"], "lovasz_weight": 0.5}).startswith("model.config.losses is ['dice'], expected")
