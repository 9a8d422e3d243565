"""`ocrnet configure`, from a folder to a recipe that the strict reader takes and `ocrnet train` runs."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from accelerate.state import AcceleratorState
from helpers.own_data import photo, write

from modeling_ocrnet import data
from modeling_ocrnet.cli import configure as command
from modeling_ocrnet.cli.recipe_parser import parse_recipe, recipe_parser
from modeling_ocrnet.training import fitting_step
from modeling_ocrnet.training.build import build_config
from modeling_ocrnet.training.dry_run import RunCost
from modeling_ocrnet.training.loop import train
from modeling_ocrnet.training.recipe import as_dict, flatten
from modeling_ocrnet.training.starting_point import StartingPoint


@pytest.fixture(autouse=True)
def _fresh_accelerator():
    """Accelerate keeps one state a process."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def measured(monkeypatch):
    """The recipes of which a step was measured; each takes a second."""
    seen = []

    def measure(recipe):
        seen.append(recipe)
        return RunCost(1.0, 0.1, 2, 0, 1.0)

    monkeypatch.setattr(fitting_step, "measure_step", measure)
    return seen


@pytest.fixture
def mine(tmp_path):
    """`mine(images)`: a folder of so many images with two classes, of which one has 1 pixel in 100."""

    def make(count=10, size=(40, 60), split="", names=("ground", "crack"), crack=24):
        root = tmp_path / "mine"
        mask = np.zeros(size, np.uint8)
        mask[4 : 4 + crack // 2, 10:12] = 1
        for i in range(count):
            photo(root / "images" / split / f"{i:03}.png", size)
            write(root / "masks" / split / f"{i:03}.png", mask)
        (root / "classes.json").write_text(json.dumps(list(names)))
        return root

    return make


def configured(root, capsys, *argv):
    """The recipe's text, and the recipe as `ocrnet train` reads it."""
    capsys.readouterr()
    command.main(["--data.name", "folder", "--data.root", str(root), *argv])
    text = capsys.readouterr().out
    file = root.parent / "written.yaml"
    file.write_text(text)
    return text, parse_recipe(recipe_parser(), ["--config", str(file)])[0]


def refused(capsys, *argv):
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        command.main(list(argv))
    line = stopped.value.code if isinstance(stopped.value.code, str) else capsys.readouterr().err.splitlines()[-1]
    assert "\n" not in line
    return line


def test_a_line_a_field_with_its_reason(mine, capsys, measured):
    text, recipe = configured(mine(), capsys, "--minutes", "30", "--data.val_share", "0.3", "--memory", "8")
    lines = [x for x in text.splitlines() if x and not x.lstrip().startswith("#")]
    before = dict(zip(text.splitlines()[1:], text.splitlines(), strict=False))
    bare = [x for x in lines if not x.endswith(":") and "  # " not in x and not before[x].lstrip().startswith("# ")]
    assert bare == []
    assert "ocrnet train --config recipe.yaml --minutes 30" in text
    assert "Not looked at: scores" in text
    assert "the rarest class, crack, has 1% of the pixels" in text
    assert re.search(r"micro_batch: 6  # 1.0 GB at its peak, of 8.0 GB given", text)
    assert (recipe.data.name, recipe.data.val_share, recipe.output) == ("folder", 0.3, "runs/written")
    assert recipe.schedule.max_steps == int(0.9 * (30 * 60 - 20))
    assert measured[0].model.backbone is None


def test_what_is_measured_is_what_is_written(mine, capsys, measured):
    """But for the length, what doesn't matter to a step, and the weights that a measurement needn't fetch."""
    _, recipe = configured(mine(), capsys, "--memory", "8")
    ours, theirs = (flatten(as_dict(x)) for x in (recipe, measured[-1]))
    differ = {key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)}
    allowed = ("schedule.", "optimizer.", "checkpoint.", "logging.", "evaluation.every", "sampler.")
    assert {x for x in differ if not x.startswith(allowed)} <= {"output", "model.ema_decay", "data.val_share"}


def test_a_folder_without_a_split_val_holds_images_out(mine, capsys, measured):
    text, recipe = configured(mine(20), capsys)
    assert (recipe.data.val_share, recipe.evaluation.split) == (0.2, "val")
    assert "Frames of one video" in " ".join(text.replace("#", " ").split())


def test_one_image(mine, capsys, measured):
    text, recipe = configured(mine(1), capsys)
    assert (recipe.data.split, recipe.evaluation.split) == ("all", "all")
    assert "scores are of the images that were trained on" in text
    assert "Looked at: 1 image to train on" in text


def test_one_image_in_a_split(mine, capsys, measured):
    _, recipe = configured(mine(1, split="train"), capsys)
    assert (recipe.data.split, recipe.data.val_share, recipe.evaluation.split) == ("train", None, "train")


def test_given_splits_are_kept(mine, capsys, measured):
    for split in ("train", "test"):
        root = mine(4, split=split)
    _, recipe = configured(root, capsys, "--evaluation.split", "test")
    assert (recipe.data.val_share, recipe.evaluation.split) == (None, "test")
    assert "has no split nothing" in refused(
        capsys, "--data.name", "folder", "--data.root", str(root), "--evaluation.split", "nothing"
    )


def test_many_classes(mine, capsys, measured):
    _, recipe = configured(mine(6, names=[f"class: {i} #" for i in range(171)]), capsys)
    assert len(recipe.model.config["class_weights"]) == 171
    assert build_config(recipe, data.label_set(recipe.data)).num_labels == 171


@pytest.mark.parametrize("size", [(8, 12), (20, 2000), (900, 30)])
def test_sizes(size, mine, capsys, measured):
    _, recipe = configured(mine(6, size=size, crack=4), capsys)
    assert min(recipe.data.crop_size) >= 64
    assert min(recipe.data.scale) == min(size)
    assert max(recipe.data.scale) >= max(size)  # an image has its own size at ratio 1


def test_what_the_data_checks_refuse(mine, capsys, measured):
    """The same lines as of `ocrnet train`, which the checks' own tests know."""
    root = mine(6)
    write(root / "masks/000.png", np.full((40, 60), 9, np.uint8))
    assert "1 of" in (line := refused_lines(capsys, root))
    assert "000.png" in line
    (root / "masks/000.png").unlink()
    assert "000.png: has no mask" in refused_lines(capsys, root)
    assert not measured


def refused_lines(capsys, root):
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        command.main(["--data.name", "folder", "--data.root", str(root), "--data.val_share", "0.5"])
    return stopped.value.code


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--minutes", "0"], "--minutes must be positive, got 0"),
        (["--minutes", ".inf"], "--minutes must be positive, got inf"),
        (["--memory", "-1"], "--memory must be positive, got -1"),
        (
            ["--model.init_from", "x", "--model.variant", "hr18"],
            "--model.init_from is given, and so is --model.variant",
        ),
        (["--model.init_from", "x", "--model.backbone", "null"], "so is --model.backbone"),
        (["--data.root", "~nobody-of-this-name/x"], "data.root ~nobody-of-this-name/x: there is no such user"),
        (["--schedule.max_steps", "9"], "--schedule.max_steps"),
        (["--minute", "9"], "--minute"),
    ],
)
def test_what_cannot_be_meant(argv, message, mine, capsys, measured):
    assert message in refused(capsys, "--data.name", "folder", "--data.root", str(mine()), *argv)
    assert not measured


def test_a_dataset_is_needed(capsys):
    assert "give a dataset: --data.name" in refused(capsys, "--minutes", "3")


def test_a_file_that_is_there_is_kept(mine, tmp_path, capsys, measured):
    root, file = mine(), tmp_path / "new/mine.yaml"
    argv = ["--data.name", "folder", "--data.root", str(root), "--output"]
    command.main([*argv, str(file)])
    assert capsys.readouterr().out == f"written: {file}\n"
    assert f"ocrnet train --config {file}\n" in file.read_text()
    before = file.read_text()
    assert "exists already, and may hold edits; give a new file" in refused(capsys, *argv, str(file))
    assert "a folder; give the recipe's file" in refused(capsys, *argv, str(tmp_path))
    assert file.read_text() == before


@pytest.mark.parametrize(
    "name", ["my data", "it's # 1", "a: b", 'a"q', "back\\slash", "1e3", "2e-5", "a ~x", "%d", "a\x85b"]
)
def test_odd_names_survive_yaml_and_the_shell(name, mine, tmp_path, capsys, measured, monkeypatch):
    """A folder and a recipe of that name, trained as the recipe's first lines say."""
    monkeypatch.chdir(tmp_path)
    mine().rename(tmp_path / name)
    command.main(["--data.name", "folder", f"--data.root={name}", f"--output={name}.yaml"])
    text = Path(f"{name}.yaml").read_text()
    shown = next(x for x in text.split("\n") if x.startswith("#   ocrnet train") and "--check" not in x)
    file = f"{name}.yaml"
    assert shlex.split(shown[1:]) == ["ocrnet", "train", "--config", file if file.isprintable() else "RECIPE"]
    assert parse_recipe(recipe_parser(), ["--config", file])[0].data.root == name


def test_weights_on_this_machine_are_taken(mine, tmp_path, capsys, measured):
    root, file = mine(), tmp_path / "weights.safetensors"
    argv = ["--data.name", "folder", "--data.root", str(root), "--model.backbone", str(file)]
    assert f"--model.backbone {file}: no such file" in refused(capsys, *argv)
    file.touch()
    text, recipe = configured(root, capsys, "--model.backbone", str(file))
    assert recipe.model.backbone == str(tmp_path / "weights.safetensors")
    assert (recipe.optimizer.lr, recipe.model.freeze, recipe.global_batch) == (5e-4, 2, 4)
    text, recipe = configured(tmp_path / "mine", capsys)  # the tests are offline
    assert recipe.model.backbone is None
    assert "HF_HUB_OFFLINE is set" in text


@pytest.mark.parametrize(("variant", "published"), [("hr48", True), ("r101-d8", True), ("convnext_tiny", False)])
def test_which_backbones_mmsegmentation_published(variant, published):
    assert StartingPoint("imagenet", variant, {}).published is published


@pytest.mark.slow
def test_the_recipe_trains(mine, tmp_path, capsys):
    """A step is measured in a process of its own; then three steps of what was written."""
    text, recipe = configured(mine(8, size=(64, 64)), capsys)
    seconds, peak = re.search(r"Measured: a step, ([\d.e+]+) s and ([\d.]+) GB", " ".join(text.split())).groups()
    assert float(seconds) > 0
    assert 0.2 < float(peak) < 8
    AcceleratorState._reset_state(reset_partial_state=True)  # of a command that has ended
    recipe.schedule.max_steps = recipe.evaluation.every = recipe.schedule.warmup_steps = 3
    recipe.data.workers, recipe.output = 0, str(tmp_path / "run")
    model = train(recipe)
    assert set(json.loads((model / "metrics.json").read_text())["iou"]) == {"ground", "crack"}
    assert Path(model.parent / "model_ema").is_dir()
