"""How options are written: each line beside the plain YAML that it must mean; old spellings mean the same as new."""

import itertools
import sys
from contextlib import suppress

import pytest

from modeling_ocrnet.cli import convert, evaluate, export, main, predict, train
from modeling_ocrnet.cli import data as data_command
from modeling_ocrnet.cli.recipe_parser import parse_recipe
from modeling_ocrnet.configuration_ocrnet import VERSION


def parsed(parser, *argv):
    return parser.instantiate(parser.parse_args(list(argv)))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (["--flip"], True),
        (["--no-flip"], False),
        (["--no_flip"], False),
        (["--flip", "--batch_size", "2"], True),
        (["--flip", "true"], True),
        (["--flip=false"], False),
        (["--flip", "False"], False),
        (["--flip", "--no-flip"], False),
        ([], False),
    ],
)
def test_booleans(written, meant, capsys):
    options = parsed(predict.build_parser(), "model", *written, "a.png", "b.png")
    assert options.flip is meant
    assert options.inputs == ["a.png", "b.png"]
    old = any(x.lower().endswith(("true", "false")) for x in written)
    assert capsys.readouterr().err.count("hint: ") == old


def test_a_boolean_does_not_take_the_argument_behind_it():
    options = parsed(predict.build_parser(), "model", "--flip", "true.png")
    assert options.inputs == ["true.png"]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (["--scales", "0.5,1,1.25"], [0.5, 1.0, 1.25]),
        (["--scales=0.5,1,1.25"], [0.5, 1.0, 1.25]),
        (["--scales", "[0.5, 1, 1.25]"], [0.5, 1.0, 1.25]),
        (["--scales", "0.5"], [0.5]),
    ],
)
def test_lists_of_numbers(written, meant):
    options = parsed(predict.build_parser(), "model", "a.png", *written)
    assert options.scales == meant


def test_pairs_of_numbers_and_nulls():
    options = parsed(predict.build_parser(), "model", "a.png", "--window", "512,1024", "--stride", "null")
    assert tuple(options.window) == (512, 1024)
    assert options.stride is None
    assert parsed(predict.build_parser(), "model", "a.png", "--value_range", "12").value_range == 12
    assert tuple(parsed(predict.build_parser(), "model", "a.png", "--value_range", "0,4095").value_range) == (0, 4095)


def test_lists_of_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a,b.png").touch()
    for written, meant in {
        "photos/,more/*.png": ["photos/", "more/*.png"],
        "photos/": ["photos/"],
        "a,b.png": ["a,b.png"],  # a file of this name is there
        '["c,d.png"]': ["c,d.png"],
        "[ab].png": ["[ab].png"],  # a pattern
        "c.png, d.png,": ["c.png", "d.png"],
    }.items():
        options = parsed(export.build_parser(), "model", "--output", "out", "--images", written)
        assert list(options.images) == meant


def test_a_recipe_on_the_command_line():
    argv = "--config cityscapes/ocrnet_hr18_40k --model.gradient_checkpointing --no-data.photometric --seed 3"
    argv += " --data.crop_size 256,512 --logging.trackers tensorboard,wandb --model.config.class_weights 1,2.5"
    argv += " --model.config.dropout 0.1 --no-evaluation.inference.flip"
    recipe, _ = parse_recipe(train.build_parser(), argv.split())
    assert recipe.model.gradient_checkpointing is True
    assert recipe.data.photometric is recipe.evaluation.inference.flip is False
    assert tuple(recipe.data.crop_size) == (256, 512)
    assert recipe.logging.trackers == ["tensorboard", "wandb"]
    assert recipe.model.config == {"class_weights": [1, 2.5], "dropout": 0.1}
    assert recipe.seed == 3


PAIRS = [
    (predict, "model a.png --output_dir out --flip true", "model a.png --output out --flip"),
    (evaluate, "model --name camvid --root r --flip false", "model --data.name camvid --data.root r --no-flip"),
    (
        evaluate,
        "model --name folder --root r --val_share 0.2 --ignore_ids [1,2]",
        "model --data.name folder --data.root r --data.val_share 0.2 --data.ignore_ids 1,2",
    ),
    (
        export,
        "model out --format onnx --name camvid --root r",
        "model --output out --format onnx --data.name camvid --data.root r",
    ),
    (export, "model out --images a b c --format onnx", "model --output out --images a,b,c --format onnx"),
    (predict, "model a.png --output_dir out --flip yes", "model a.png --output out --flip"),
    (convert, "x.pth out --source mmseg", "x.pth --output out --source mmseg"),
    (convert, 'x.pth out --config {"dropout":0.1}', "x.pth --output out --model.config.dropout 0.1"),
]


@pytest.mark.parametrize(("module", "old", "new"), PAIRS)
def test_an_old_spelling_means_the_same_and_says_what_replaces_it(module, old, new, capsys):
    expected = parsed(module.build_parser(), *new.split())
    assert capsys.readouterr().err == ""
    assert parsed(module.build_parser(), *old.split()) == expected
    said = capsys.readouterr().err.splitlines()
    assert said
    assert all(line.startswith("hint: ") and " is now " in line for line in said)


@pytest.mark.parametrize(
    ("module", "line"),
    [
        (predict, "model a.png --output --flip"),  # its value is missing
        (train, "--resume --check"),
        (export, "model --output out --format onnx --images --split val"),
        (export, "model --output out --format onnx --images ,"),
        (train, "--conf cityscapes/ocrnet_hr18_40k"),  # no abbreviations
        (export, "model out --output other --format onnx"),  # two outputs
        (export, "model --output out other --format onnx"),
        (train, "--model.config.id2label.0 road --model.config.id2label.1 tree"),
        (train, f"--config {'x' * 300}"),
    ],
)
def test_what_is_refused(module, line, capsys):
    """With one line, and nothing is taken for something else."""
    parser, argv = module.build_parser(), line.split()
    with pytest.raises(SystemExit) as stopped:
        parse_recipe(parser, argv) if module is train else parser.parse_args(argv)
    assert stopped.value.code == 2
    said = [x for x in capsys.readouterr().err.splitlines() if x.startswith(("error:", "hint:"))]
    assert len(said) == 1
    assert said[0].startswith("error:")


def test_groups_and_files_do_not_undo_what_stands_before_them(tmp_path):
    """Whatever the order, the narrower option wins."""
    (tmp_path / "model.yaml").write_text("config: {dropout: 0.2, align_corners: true}\nvariant: hr18s\n")
    parts = [
        ["--model", str(tmp_path / "model.yaml")],
        ["--model.config", "{dropout: 0.1, loss_normalizer: valid}"],
        ["--model.config.class_weights", "1,2"],
        ["--model.variant", "hr48"],
    ]
    for order in itertools.permutations(parts):
        recipe, _ = parse_recipe(train.build_parser(), [x for part in order for x in part])
        assert recipe.model.variant == "hr48"
        assert recipe.model.config == {"dropout": 0.1, "loss_normalizer": "valid", "class_weights": [1, 2]}


def test_fields_of_a_conversion(tmp_path):
    (tmp_path / "fields.json").write_text('{"dropout": 0.1, "label_ids": [1]}')
    for argv in (
        ["x.pth", "--output", "out", "--model.config.label_ids", "7,8,11", "--model.config.dropout", "0.1"],
        ["--model.config.label_ids=7,8,11", "--model.config.dropout", "0.1", "x.pth", "--output", "out"],
        ["x.pth", "--output", "out", "--model.config.label_ids=7,8,11", "--config", str(tmp_path / "fields.json")],
    ):
        options = parsed(convert.build_parser(), *argv)
        assert (options.input, options.output) == ("x.pth", "out")
        fields = {key: value for key, value in options.model.config.items() if key != "__path__"}
        assert fields == {"label_ids": [7, 8, 11], "dropout": 0.1}


@pytest.mark.parametrize(
    ("title", "old", "new"),
    [
        (
            "inspect",
            "camvid --root r --output_dir page --limit 3",
            "--data.name camvid --data.root r --output page --limit 3",
        ),
        (
            "export",
            "camvid out --root r --store raw --private true",
            "--data.name camvid --output out --data.root r --store raw --private",
        ),
        ("layout", "camvid --root r", "--data.name camvid --data.root r"),
    ],
)
def test_old_spellings_of_data(title, old, new, capsys):
    expected = parsed(data_command.build_parser(title), *new.split())
    assert capsys.readouterr().err == ""
    assert parsed(data_command.build_parser(title), *old.split()) == expected
    assert "hint: camvid is now --data.name camvid\n" in capsys.readouterr().err


def test_the_hint_comes_from_one_process(capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    parsed(predict.build_parser(), "model", "a.png", "--flip", "true")
    assert capsys.readouterr().err == ""


def test_a_recipe_that_says_output_dir(tmp_path, capsys):
    old = tmp_path / "old.yaml"
    old.write_text("seed: 1\noutput_dir: elsewhere\n")
    recipe, _ = parse_recipe(train.build_parser(), ["--config", str(old)])
    assert (recipe.output, recipe.seed) == ("elsewhere", 1)
    assert capsys.readouterr().err == "hint: output_dir in a recipe is now output\n"
    old.write_text("output: a\noutput_dir: b\n")
    with pytest.raises(SystemExit):
        parse_recipe(train.build_parser(), ["--config", str(old)])
    assert "has output and output_dir" in capsys.readouterr().err


@pytest.mark.parametrize("title", ["inspect", "export"])
def test_a_dataset_must_be_named(title, capsys):
    with pytest.raises(SystemExit) as stopped:
        data_command.main([title, "--data.root", "somewhere", *(["--output", "out"] if title == "export" else [])])
    assert stopped.value.code == 2
    assert "give a dataset: --data.name ade20k, " in capsys.readouterr().err


def test_auto_takes_the_weights_of_the_variant():
    """As mmsegmentation's and the authors' recipes pair them."""
    names = {"hr18s": "hrnet_w18_small_v2", "hr18": "hrnet_w18", "hr32": "hrnet_w32", "hr48": "hrnet_w48"}
    names |= {"hr64": "hrnet_w64"}
    for variant, name in names.items():
        recipe, _ = parse_recipe(train.build_parser(), ["--model.variant", variant])
        assert recipe.model.backbone == f"timm/{name}.ms_in1k"
    for given in ("null", "my/weights.pth"):
        recipe, _ = parse_recipe(train.build_parser(), ["--model.backbone", given])
        assert recipe.model.backbone == (None if given == "null" else given)


def test_print_config_shows_what_will_run(tmp_path, capsys, monkeypatch):
    """Read back as a recipe, it is the one that the command line describes, its nulls filled in."""
    monkeypatch.chdir(tmp_path)
    options = "--config cityscapes/ocrnet_hr18_40k --model.variant hr48 --evaluation.inference.window 64,96"
    argv = options.split()
    train.main([*argv, "--print_config"])
    printed = capsys.readouterr().out
    (tmp_path / "printed.yaml").write_text(printed)
    recipe, _ = parse_recipe(train.build_parser(), ["--config", "printed.yaml"])
    given, _ = parse_recipe(train.build_parser(), argv)
    assert recipe.model == given.model
    assert recipe.model.backbone == "timm/hrnet_w48.ms_in1k"
    assert recipe.data.root == "data/cityscapes"
    assert recipe.output == "runs/cityscapes/ocrnet_hr18_40k"
    assert recipe.mixed_precision == "no"
    assert tuple(recipe.evaluation.inference.stride) == (43, 64)
    assert printed.startswith("# processes: 1, device: cpu, accumulation steps: 4\n")


@pytest.mark.parametrize("option", ["--model.init_classes", "--model.config", "--model.config.losses"])
def test_a_colon_without_a_space(option, capsys):
    """YAML reads `{a:b}` as one key without a value."""
    with pytest.raises(SystemExit):
        parse_recipe(train.build_parser(), [option, "{dice:0.5,focal:1}"])
    expected = f"{option} is {{dice:0.5,focal:1}}, but YAML needs a space after a colon: {{dice: 0.5,focal: 1}}"
    assert expected in capsys.readouterr().err


class TestTheCommand:
    @pytest.fixture(autouse=True)
    def _program(self, monkeypatch):
        monkeypatch.setattr(sys, "argv", ["ocrnet"])

    def test_its_help_lists_all_commands(self, capsys):
        with pytest.raises(SystemExit, match="0"):
            main.main([])
        bare = capsys.readouterr().out
        with pytest.raises(SystemExit, match="0"):
            main.main(["--help"])
        assert capsys.readouterr().out == bare
        assert all(f"\n  {name} " in bare for name in main.COMMANDS)

    def test_its_version(self, capsys):
        main.main(["--version"])
        assert capsys.readouterr().out == f"{VERSION}\n"

    @pytest.mark.parametrize("name", [*main.COMMANDS])
    def test_each_command_explains_itself(self, name, capsys):
        with suppress(SystemExit):  # argparse's way to end
            main.main([name, "--help"])
        assert f"ocrnet {name}" in capsys.readouterr().out

    def test_a_mistake_is_reported_under_its_name(self, capsys):
        with pytest.raises(SystemExit, match=r"^ocrnet predict: none\.png"):
            main.main(["predict", "model", "none.png"])

    @pytest.mark.parametrize(("given", "said"), [("trian", "did you mean train?"), ("xyz", "there are train, predict")])
    def test_what_is_no_command(self, given, said, capsys):
        with pytest.raises(SystemExit) as stopped:
            main.main([given])
        assert stopped.value.code == 2
        assert said in capsys.readouterr().err
