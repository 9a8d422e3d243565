"""What goes wrong while training: a last line that says it, an exit code, and checkpoints that are still good."""

import json
import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import multiprocess
from helpers.process_state import replace_for_good
from helpers.signals import stop_after
from safetensors.torch import load_file

from modeling_ocrnet.cli.run import exit_with_error, user_message
from modeling_ocrnet.data import DataError
from modeling_ocrnet.training import failure, loop
from modeling_ocrnet.training import recipe as R
from modeling_ocrnet.training.checkpoint import find_checkpoints
from modeling_ocrnet.training.dry_run import dry_run

ROOT = Path(__file__).parents[2]


def steps(recipe) -> list[int]:
    return [int(x.name[5:]) for x in find_checkpoints(Path(recipe.output))]


def assert_resumes(recipe):
    """The last checkpoint can be gone on from."""
    (saved,) = steps(recipe)[-1:]
    continued = []

    def once(experiment, batches, step, **_):
        continued.append(step)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "train_step", once)
        with pytest.raises(KeyboardInterrupt):
            loop.train(recipe, resume="last")
    assert continued == [saved]


@pytest.mark.slow
def test_a_disk_that_is_full(quick_recipe, tmp_path):
    """The kernel refuses to let files grow, from the second checkpoint on."""
    recipe = quick_recipe(checkpoint=R.CheckpointRecipe(every=2))
    with multiprocess.train(tmp_path / "a", recipe, before=let_no_file_grow_after_two_steps) as run:
        assert run.exit_codes() == [1]
    target = Path(recipe.output) / "checkpoints" / "step-0000004"
    assert run.last_line().startswith(f"train.py: {target}: can't be written (")
    assert "File too large" in run.last_line()
    assert run.last_line().endswith("free disk space, and continue with --resume last")
    assert run.last_line().removeprefix("train.py: ") in (Path(recipe.output) / "train.log").read_text()
    assert steps(recipe) == [2]
    assert_resumes(recipe)


def let_no_file_grow_after_two_steps():
    original = loop.train_step

    def limited(experiment, batches, step, **keywords):
        if step == 2:
            weights = Path(experiment.recipe.output) / "checkpoints/step-0000002/model.safetensors"
            resource.setrlimit(resource.RLIMIT_FSIZE, (weights.stat().st_size // 2,) * 2)
        return original(experiment, batches, step, **keywords)

    replace_for_good(loop, "train_step", limited)


@pytest.mark.slow
def test_a_data_worker_that_dies(quick_recipe, scenes, tmp_path):
    data = R.DataRecipe("street_scenes", str(scenes), crop_size=(32, 64), scale=(128, 64), workers=2)
    recipe = quick_recipe(data=data)
    with multiprocess.train(tmp_path / "a", recipe) as run:
        run.until(lambda: steps(recipe))
        run.workers()[0].kill()
        assert run.exit_codes() == [1]
    assert run.last_line().startswith("train.py: a data worker died (DataLoader worker (pid")
    assert "Traceback" not in run.last_line()
    assert_resumes(recipe)


ROWS = 70  # more than are decoded before training starts


@pytest.fixture
def spoilt(scenes, tmp_path):
    """A tree with a damaged image that no check finds, its path, and its position: one that process 1 of 2 reads."""
    root = tmp_path / "scenes"
    shutil.copytree(scenes, root)
    for folder, suffix in (("leftImg8bit", "leftImg8bit"), ("gtFine", "gtFine_labelIds")):
        first = sorted((root / folder / "train").rglob(f"*_{suffix}.png"))
        for i in range(ROWS - len(first)):
            shutil.copy(first[i % len(first)], first[0].with_name(f"z_000000_{i:06d}_{suffix}.png"))
    images = sorted((root / "leftImg8bit" / "train").rglob("*.png"))
    order = np.random.default_rng([0, 0, 0]).permutation(ROWS)
    position = next(p for p in range(4, ROWS) if p % 4 in (2, 3) and order[p] >= 64)
    image = images[order[position]]
    image.write_bytes(image.read_bytes()[:2000])  # the header stays
    return root, image, position


def on(root, **fields) -> R.DataRecipe:
    return R.DataRecipe("street_scenes", str(root), crop_size=(32, 64), scale=(128, 64), **fields)


@pytest.mark.slow
def test_a_damaged_image_is_named(quick_recipe, spoilt, tmp_path):
    """Found by a data worker, whose traceback isn't what the last line says."""
    root, image, position = spoilt
    recipe = quick_recipe(data=on(root, workers=1), checkpoint=R.CheckpointRecipe(every=1))
    with multiprocess.train(tmp_path / "a", recipe) as run:
        assert run.exit_codes() == [1]
    assert re.fullmatch(rf"train\.py: {image}: a damaged image \(.*\): replace or remove it", run.last_line())
    assert steps(recipe)[-1] == position // 4  # the steps before that of its position
    assert_resumes(recipe)


@pytest.mark.slow
@pytest.mark.distributed
def test_a_damaged_image_stops_two_processes(quick_recipe, spoilt, tmp_path):
    """As the README launches them. The launcher ends with its own report, in which the line stands too."""
    root, image, position = spoilt
    recipe = quick_recipe(data=on(root, workers=1), checkpoint=R.CheckpointRecipe(every=1))
    file = multiprocess.write(recipe, tmp_path)
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--main_process_port", "0"]
    launch += ["--config_file", ROOT / "configuration/accelerate/cpu_2.yaml", ROOT / "scripts/train.py"]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run([*launch, "--config", file], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    said = rf"{image}: a damaged image \(.*\): replace or remove it"
    assert re.search(rf"^train\.py, process 1: {said}$", done.stderr, re.MULTILINE)
    report = done.stderr.partition("Root Cause")[2]
    assert re.search(rf"rank +: 1.*traceback : {said}", report, re.DOTALL)
    assert "RuntimeError" not in done.stderr
    assert steps(recipe)[-1] == position // 4


@pytest.mark.slow
def test_damaged_images_can_be_skipped(quick_recipe, spoilt, tmp_path):
    """Another takes its place, the same one in a run that was stopped before and resumed; and it is counted."""
    root, image, position = spoilt
    last = position // 4 + 1
    folders = []
    for name, stops in (("whole", []), ("parts", [last - 1])):
        recipe = quick_recipe(
            data=on(root, workers=0, on_error="skip"),
            schedule=R.ScheduleRecipe(max_steps=last),
            output=str(tmp_path / name),
        )
        for stop in stops:
            with stop_after(stop), pytest.raises(SystemExit):
                loop.train(recipe)
        folders.append(loop.train(recipe, resume="auto"))
        records = [json.loads(x) for x in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        assert [r["skipped"] for r in records if "skipped" in r] == [0] * (last - 1) + [1]
        log = (tmp_path / name / "train.log").read_text()
        assert f"skipped, and another sample taken in its place: {image}: a damaged image" in log
    whole, parts = (load_file(folder / "model.safetensors") for folder in folders)
    assert [key for key in whole if not (whole[key] == parts[key]).all()] == []


@pytest.mark.parametrize("go", [loop.train, dry_run])
@pytest.mark.parametrize("place", ["below a file", "not to be written to"])
def test_a_folder_that_cannot_be_written_is_found_first(quick_recipe, tmp_path, monkeypatch, place, go):
    if place == "below a file":
        (tmp_path / "file").touch()
        folder = tmp_path / "file" / "run"
    else:  # where not even root can
        folder = Path("/proc/self/run")
        if not folder.parent.is_dir():
            pytest.skip("there is no /proc here")
    monkeypatch.setattr(loop, "build", None)
    said = f"output {folder}: nothing can be written to {folder.parent} (.*): choose another --output"
    with pytest.raises(ValueError, match=said):
        go(quick_recipe(output=str(folder)))


def test_a_folder_is_tried_and_left_as_it_was(tmp_path):
    failure.check_writable(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


def test_what_a_user_reads():
    """Of errors as torch raises them: one line, whatever they came with."""
    in_worker = (
        "Caught DataError in DataLoader worker process 0.\nOriginal Traceback ...\n  x = 1\nDataError: a.png: bad\n"
    )
    assert user_message(DataError(in_worker)) == "a.png: bad"
    with pytest.raises(failure.ProcessLost) as lost, failure.explained_processes():
        raise RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:1")
    assert user_message(lost.value).startswith("another training process failed")
    for other in (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), TypeError("a fault of the program")):
        with pytest.raises(type(other)) as raised, failure.explained_processes():
            raise other
        assert user_message(raised.value) is None


def test_a_fault_of_the_program_keeps_its_traceback(capsys):
    try:
        len(3)
    except TypeError as error:
        with pytest.raises(SystemExit, match=r"train.py: TypeError: object of type 'int' has no len\(\)"):
            exit_with_error("train.py", error)
    assert "    len(3)" in capsys.readouterr().err
