"""Values of a recipe that can't be meant: empty ones, and numbers out of range."""

import importlib.util
import math
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import NoneType
from typing import get_args, get_origin, get_type_hints

import pytest
import yaml

from modeling_ocrnet import data
from modeling_ocrnet.cli.recipe_parser import parse_recipe, recipe_parser
from modeling_ocrnet.training.build import build_config
from modeling_ocrnet.training.recipe import ModelRecipe, Recipe, as_dict, differences


def of(kind, prefix=""):
    """(name, type) of every field of a dataclass, and of every field inside."""
    hints = get_type_hints(kind)
    for field in fields(kind):
        yield prefix + field.name, hints[field.name]
        if is_dataclass(hints[field.name]):
            yield from of(hints[field.name], f"{prefix}{field.name}.")


FIELDS = dict(of(Recipe))
NULLABLE = {
    "data.root",
    "data.path",
    "data.config_name",
    "data.classes",
    "data.val_share",
    "data.value_range",
    "sampler.tile",
    "sampler.classes",
    "model.init_from",
    "model.variant",
    "model.backbone",
    "model.freeze",
    "model.ema_decay",
    "lora.rank",
    "lora.target_modules",
    "lora.train_whole",
    "optimizer.clip_norm",
    "optimizer.layer_decay",
    "evaluation.inference.window",
    "evaluation.inference.stride",
    "evaluation.limit",
    "mixed_precision",
    "output",
}
LISTS = [x for x, kind in FIELDS.items() if {list, tuple} & {get_origin(y) for y in (kind, *get_args(kind))}]
SCALES = "evaluation.inference.scales"
NUMBERS = [x for x, kind in FIELDS.items() if {float, int} & {kind, *get_args(kind)} or x == SCALES]


@pytest.fixture
def given(tmp_path, capsys):
    """`given(field, value)`: the recipe of a file with that one field, or the error that it ends with."""

    def parse(name, value, *argv):
        for part in reversed(name.split(".")):
            value = {part: value}
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(value))
        return ended(capsys, "--config", str(tmp_path / "recipe.yaml"), *argv)

    return parse


def ended(capsys, *argv):
    capsys.readouterr()
    try:
        return parse_recipe(recipe_parser(), list(argv))[0]
    except SystemExit as error:
        code = error.code
    _, _, message = capsys.readouterr().err.partition("\nerror: ")
    assert (code, message.count("\n")) == (2, 1)
    return message.strip()


def test_the_walk_finds_what_may_be_empty():
    assert {x for x, kind in FIELDS.items() if NoneType in get_args(kind)} == NULLABLE
    assert {"schedule", "evaluation.inference", "model.config", "data.ignore_ids", "seed"} <= FIELDS.keys()


@pytest.mark.parametrize("name", FIELDS)
def test_an_empty_field_is_named_unless_it_may_be_empty(name, given):
    found = given(name, None)
    if name in NULLABLE:
        assert isinstance(found, Recipe)
    else:
        assert found.startswith(f"{name} is empty, expected ")
        assert found.endswith(": give a value, or leave the line out for its default")


@pytest.mark.parametrize("group", ["optimizer", "evaluation", "evaluation.inference", "data", "schedule"])
@pytest.mark.parametrize("value", [3, [], True, float("nan")])
def test_a_group_that_holds_no_fields_is_named(group, value, given):
    assert given(group, value).startswith(f"{group} is {value!r}, expected its fields: ")


def test_the_message_says_what_was_expected(given):
    assert "schedule.max_steps is empty, expected int: give" in given("schedule.max_steps", None)
    assert "optimizer.name is empty, expected Literal['sgd', 'adamw']: give" in given("optimizer.name", None)


@pytest.mark.parametrize("name", [x for x in FIELDS if x not in NULLABLE])
@pytest.mark.parametrize("inline", [True, False])
def test_an_empty_option_is_named(name, inline, capsys):
    """`--schedule.max_steps null`, and `--schedule '{max_steps: null}'`."""
    group, _, field = name.rpartition(".")
    argv = (f"--{group}", f"{{{field}: null}}") if inline and group else (f"--{name}", "null")
    found = ended(capsys, *argv)
    if FIELDS[name] is str and argv[1] == "null":  # a word like any other
        assert isinstance(found, Recipe) or "'null'" in found or f"{field} is given" in found
    else:
        assert name in found


def test_the_fields_of_a_part_are_named_in_full(tmp_path, capsys):
    (tmp_path / "part.yaml").write_text("batch_size:\n")
    assert ended(capsys, f"--evaluation.inference={tmp_path / 'part.yaml'}").startswith(
        "evaluation.inference.batch_size is empty, expected int"
    )


@pytest.mark.parametrize("name", LISTS)
def test_an_empty_entry_is_named(name, given):
    assert given(name, [None, 2]).startswith(f"{name} has an empty entry, [None, 2]")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_that_are_none_are_refused(name, value, given):
    value = [value, 2.0] if name == "data.ratio_range" else [value] if name == SCALES else value
    assert name.rpartition(".")[2] in given(name, value)


@pytest.mark.parametrize("name", [x for x in NUMBERS if x != SCALES])
def test_no_number_may_be_negative(name, given):
    assert name.rpartition(".")[2] in given(name, -1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("data.cat_max_ratio", 0),
        ("data.cat_max_ratio", 1.5),
        ("data.flip_probability", 50),
        ("data.scale", [0, 512]),
        ("data.ratio_range", [0, 2]),
        ("data.crop_size", [512, -512]),
        ("optimizer.momentum", 1),
        ("optimizer.head_lr_multiplier", 0),
        ("optimizer.clip_norm", 0),
        ("schedule.warmup_ratio", 10),
        ("schedule.min_lr", 0.02),
        ("evaluation.limit", 0),
        ("evaluation.inference.scales", [1, 0]),
        ("seed", 2**32),
        ("process_timeout", 1e300),
        ("model.config.lovasz_weight", math.nan),
    ],
)
def test_numbers_out_of_range_are_named(name, value, given):
    assert name.rpartition(".")[2] in given(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("data.cat_max_ratio", 1),
        ("data.flip_probability", 0),
        ("data.workers", 0),
        ("optimizer.momentum", 0),
        ("optimizer.weight_decay", 0),
        ("schedule.power", 0),
        ("schedule.min_lr", 0.01),
        ("schedule.warmup_ratio", 1),
        ("logging.pictures", 0),
        ("seed", 2**32 - 1),
        ("model.config.loss_ignore_index", -100),
    ],
)
def test_numbers_at_the_edge_are_taken(name, value, given):
    assert isinstance(given(name, value), Recipe)


def test_ids_that_no_mask_holds_are_refused(given):
    for value in (-1, 65536):
        assert "ignore_ids must be ids from 0 to 65535" in given("data.ignore_ids", [value], "--data.name", "folder")


@pytest.mark.parametrize(
    ("group", "key", "value"),
    [
        *(("config", x, None) for x in ("id2label", "label2id", "num_labels", "palette", "label_ids", "flip_pairs")),
        ("config", "backbone_config", {"num_channels": 3}),
        ("config", "dropout", None),
        ("config", "class_weights", [None] * 19),
        ("backbone_config", "stem_channels", None),
        ("backbone_config", "num_channels", 4),
    ],
)
@pytest.mark.parametrize("variant", ["hr18", "r101-d8"])
def test_fields_of_the_network_that_cannot_be_given_are_named(group, key, value, variant):
    recipe = Recipe(model=ModelRecipe(variant=variant, **{group: {key: value}}))
    with pytest.raises(ValueError, match=key) as refused:
        build_config(recipe, data.label_set("cityscapes"))
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith("model.")


@pytest.mark.parametrize(
    ("command", "argv", "named"),
    [
        ("evaluate", ["model", "--scales", "null"], "scales"),
        ("evaluate", ["model", "--workers", "null"], "workers"),
        ("evaluate", ["model", "--engine", "null"], "engine"),
        ("predict", ["model", "x.png", "--batch_size", "null"], "batch_size"),
        ("predict", ["model", "x.png", "--scales", "[.inf]"], "scales"),
        ("predict", ["model", "x.png", "--scales", "[null]"], "scales"),
        ("export", ["model", "out", "--check_images", "null"], "check_images"),
        ("export", ["model", "out", "--format", "null"], "format"),
        ("prepare_data", ["inspect", "camvid", "--workers", "null"], "workers"),
        ("prepare_data", ["inspect", "camvid", "--ignore_ids", "null"], "ignore_ids"),
        ("prepare_data", ["export", "camvid", "out", "--store", "null"], "store"),
        ("prepare_data", ["pascal_context", "--workers", "null"], "workers"),
        ("benchmark", ["infer", "--rounds", "null"], "rounds"),
    ],
)
def test_empty_options_of_other_commands_are_named(command, argv, named, script_module, capsys):
    with pytest.raises(SystemExit) as stopped:
        script_module(command).main(argv)
    assert stopped.value.code == 2
    _, _, message = capsys.readouterr().err.partition("\nerror: ")
    assert named in message
    assert message.count("\n") == 1


@pytest.mark.parametrize(
    ("command", "argv", "message"),
    [
        ("evaluate", ["model", "--split", "null"], "split 'null' is unknown"),
        ("evaluate", ["model", "--workers", "-1"], "workers must be 0 or more, got -1"),
        ("export", ["model", "out", "--points", ".nan"], "points must be percentage points from 0 to 100, got nan"),
        ("export", ["model", "out", "--agreement", "99"], "agreement must be a share from 0 to 1, got 99"),
        ("prepare_data", ["inspect", "camvid", "--pictures", "-1"], "--pictures must be 0 or more, got -1"),
        ("prepare_data", ["inspect", "camvid", "--class_weights", ".nan"], "must be 0 or more, got nan"),
        ("prepare_data", ["pascal_context", "--workers", "0"], "--workers must be at least 1, got 0"),
    ],
)
def test_numbers_of_other_commands_are_refused_before_work(command, argv, message, script_module):
    with pytest.raises(SystemExit) as stopped:
        script_module(command).main(argv)
    assert message in stopped.value.code
    assert "\n" not in stopped.value.code


@pytest.fixture
def script_module(monkeypatch, tmp_path):
    """`script_module("predict")`: a script as a module, run in an empty folder."""
    folder = Path(__file__).parents[2] / "scripts"
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(folder))

    def load(name):
        spec = importlib.util.spec_from_file_location(f"{name}_script", folder / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"rotate": {"degrees": 10}}, "data.augmentations"),
        (["rotate"], "data.augmentations has 'rotate', expected entries with names"),
        ([[{"name": "rotate"}]], "data.augmentations has [{'name': 'rotate'}], expected entries with names"),
        ([{"name": "rotate", "degrees": 0.1}], "degrees of rotate is 0.1"),
        ([{"name": "paste", "classes": "pole"}], "classes of paste is 'pole'"),
        ([{"name": "grey", "probability": None}], "probability of grey is None"),
    ],
)
def test_augmentations_that_cannot_be_meant_are_named(value, said, given, capsys):
    assert said in given("data.augmentations", value)
    assert said in ended(capsys, "--data.augmentations", yaml.safe_dump(value, default_flow_style=True))


def test_a_resumed_run_has_the_same_augmentations(given):
    """The command line's list replaces the file's."""
    listed = [{"name": "rotate", "degrees": 20, "probability": 0.5}, {"name": "grey"}]
    recipe = given("data.augmentations", listed)
    written = yaml.safe_load(yaml.safe_dump(as_dict(recipe)))
    assert recipe.data.augmentations == written["data"]["augmentations"] == listed
    assert differences(as_dict(recipe), written) == []
    changed = given("data.augmentations", listed, "--data.augmentations", "[{name: grey}]")
    assert changed.data.augmentations == listed[1:]
    (line,) = differences(as_dict(changed), written)
    assert line.startswith("data.augmentations: [{")
    assert line.endswith(" in the checkpoint, now [{'name': 'grey'}]")
    older = as_dict(Recipe())
    del older["data"]["augmentations"]  # a checkpoint of an older release
    assert differences(as_dict(Recipe()), older) == []
