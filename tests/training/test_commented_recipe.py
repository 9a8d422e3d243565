"""YAML with a reason beside each value: any YAML reader finds the values, and the lines stay short."""

import math

import pytest
import yaml

from modeling_ocrnet.cli.recipe_parser import parse_recipe, recipe_parser
from modeling_ocrnet.training.choice import Choice, duration, percent
from modeling_ocrnet.training.commented_recipe import WIDTH, as_yaml, commented_yaml


@pytest.mark.parametrize(
    "value",
    [
        1e-5,
        0.006,
        1.0,
        0.0,
        123456789.0,
        3,
        True,
        None,
        "auto",
        "null",
        "1e-5",
        "C:\\data #1: mine",
        "ünïcode 道路",
        "a\nb",
        "a\x85b: 'c' \"d\"",
        "😀 dir/mine",
        "yes",
        "2026-01-01",
        "",
        [256, 320],
        [0.95, 1.5],
        {"cross_entropy": 1.0, "dice": 0.5},
        {"a b: c": [1, 2]},
        [{"name": "paste", "classes": ["pole, thin"]}],
    ],
)
def test_a_value_reads_back_from_one_line(value):
    text = as_yaml(value)
    assert "\n" not in text
    found = yaml.safe_load(f"field: {text}  # why")["field"]
    assert found == value
    assert type(found) is type(value)


def test_small_numbers_keep_two_digits():
    assert math.isclose(yaml.safe_load(as_yaml(2.3e-7)), 2.3e-7)


def test_groups_and_reasons():
    text = commented_yaml(
        ["What this is.", "", "  ocrnet train"],
        {
            "data.name": Choice("folder", "given"),
            "model.variant": Choice("hr18s", "small"),
            "model.config.dropout": Choice(0.1, "few images"),
            "model.config.losses": Choice({"dice": 1.0}, "rare"),
            "seed": Choice(3, "given"),
        },
    )
    assert text.splitlines() == [
        "# What this is.",
        "#",
        "#   ocrnet train",
        "data:",
        "  name: folder  # given",
        "model:",
        "  variant: hr18s  # small",
        "  config:",
        "    dropout: 0.1  # few images",
        "    losses: {dice: 1.0}  # rare",
        "seed: 3  # given",
    ]


def test_a_long_reason_stands_above_its_line():
    """Whatever a class is called, its name can't end the comment."""
    why = "the rarest class, a\nname: of # several\r\nlines, " + "has few pixels " * 12
    text = commented_yaml(["x " * 200], {"data.name": Choice("camvid", why), "seed": Choice(1, "so")})
    assert yaml.safe_load(text) == {"data": {"name": "camvid"}, "seed": 1}
    lines = text.splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert lines[lines.index("  name: camvid") - 1].startswith("  # ")
    assert " ".join(" ".join(why.split()).split()) in " ".join(x.strip(" #") for x in lines)


def test_the_strict_reader_takes_what_was_written(tmp_path):
    """Exponents aside: 0.00001 is a number to every reader."""
    choices = {
        "data.name": Choice("camvid", "given"),
        "data.crop_size": Choice([256, 320], "all"),
        "model.config.class_weights": Choice([0.5] * 11, "even"),
        "model.backbone": Choice(None, "scratch"),
        "optimizer.lr": Choice(1e-3, "usual"),
        "schedule.min_lr": Choice(1e-5, "usual"),
    }
    (tmp_path / "mine.yaml").write_text(commented_yaml([], choices))
    recipe = parse_recipe(recipe_parser(), ["--config", str(tmp_path / "mine.yaml")])[0]
    assert (recipe.data.crop_size, recipe.schedule.min_lr, recipe.model.backbone) == ((256, 320), 1e-5, None)
    assert recipe.output == "runs/mine"


def test_how_numbers_are_said():
    assert [percent(x) for x in (0.0085, 0.12, 1e-6)] == ["0.85%", "12%", "0.0001%"]
    assert [duration(x) for x in (40, 720, 12_600)] == ["40 s", "12 min", "3.5 h"]
