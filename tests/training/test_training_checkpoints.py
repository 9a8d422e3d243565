"""Checkpoints: whole or not there, checked when they are read, and refused where a run would go on as another."""

import json
import os
import random
import shutil
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from helpers.folders import content, fill
from helpers.tiny import TINY_BACKBONE
from safetensors.torch import load_file

from modeling_ocrnet import data
from modeling_ocrnet.training import loop
from modeling_ocrnet.training import recipe as R
from modeling_ocrnet.training.checkpoint import (
    CheckpointError,
    choose_checkpoint,
    find_checkpoints,
    load_checkpoint,
    open_run,
    save_checkpoint,
)
from modeling_ocrnet.training.state import TrainState, run_fingerprint


@pytest.fixture
def place(tmp_path):
    """A run's folder; `place.prepare()` gives a network with its accelerator, `place.save(*steps)` checkpoints."""

    class Place:
        output = tmp_path / "run"
        recipe = R.Recipe(output=str(tmp_path / "run"))

        def prepare(self):
            accelerator = Accelerator(cpu=True)
            network = torch.nn.Linear(3, 2)
            network, optimizer = accelerator.prepare(network, torch.optim.SGD(network.parameters(), lr=0.1))
            return accelerator, network, optimizer

        def save(self, *steps: int, **state):
            accelerator, *_ = self.prepare()
            return [save_checkpoint(accelerator, self.recipe, self.output, TrainState(step=x, **state)) for x in steps]

        def names(self) -> list[str]:
            return [x.name for x in sorted((self.output / "checkpoints").iterdir())]

    return Place()


def flip_a_bit(path: Path) -> None:
    """Damage that no parser notices."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda path: flip_a_bit(path / "optimizer.bin"), "optimizer.bin has a different checksum"),
        (lambda path: truncate(path / "model.safetensors"), "model.safetensors has [0-9]+ bytes, its manifest says"),
        (lambda path: (path / "random_states_0.pkl").unlink(), "random_states_0.pkl can't be read: No such file"),
        (lambda path: (path / "manifest.json").unlink(), "it has no manifest.json, which is written last"),
        (lambda path: truncate(path / "manifest.json"), None),  # the line break alone: still whole
        (lambda path: (path / "manifest.json").write_text('{"files": {"model'), "its manifest.json can't be read"),
        (lambda path: (path / "manifest.json").write_text("[1]"), "its manifest.json can't be read"),
    ],
)
def test_the_newest_whole_checkpoint_is_taken(harm, reason, place):
    """And it is said which newer one was left out, and why; the damaged one itself is refused."""
    first, second = place.save(1, 2)
    harm(second)
    for resume in ("last", "auto"):
        path, said = open_run(place.prepare()[0], resume, place.output)
        if reason is None:
            assert (path, said) == (second, [])
        else:
            assert path == first
            assert len(said) == 1
            assert said[0].startswith(f"{second}: damaged (")
    if reason is not None:
        with pytest.raises(CheckpointError, match=rf"step-0000002: damaged \({reason}.*--resume last takes"):
            open_run(place.prepare()[0], str(second), place.output)
    assert open_run(place.prepare()[0], str(first), place.output) == (first, [])
    # the later checkpoint would be taken for the extended run's
    with pytest.raises(
        CheckpointError, match=r"step-0000001: --extend goes on from the end of a run, and .*-0000002 is"
    ):
        open_run(place.prepare()[0], str(first), place.output, extend=True)


@pytest.mark.parametrize("resume", ["last", "auto"])
def test_where_none_is_whole_nothing_starts_anew(resume, place):
    for path in place.save(1, 2):
        flip_a_bit(path / "model.safetensors")
    with pytest.raises(
        CheckpointError, match=r"no checkpoint is intact; remove (?s:.*)step-0000002(?s:.*)step-0000001"
    ):
        open_run(place.prepare()[0], resume, place.output)


def test_the_manifest_has_the_checksums_that_sha256sum_computes(place):
    import subprocess

    (path,) = place.save(1)
    files = json.loads((path / "manifest.json").read_text())["files"]
    assert set(files) == {x.name for x in path.iterdir()} - {"manifest.json"}
    said = subprocess.run(["sha256sum", *files], cwd=path, capture_output=True, text=True, check=True).stdout
    assert dict(reversed(line.split()) for line in said.splitlines()) == {k: v["sha256"] for k, v in files.items()}


def test_everything_is_on_the_disk_before_it_has_its_name(place, monkeypatch):
    events, fsync, replace = [], os.fsync, os.replace

    def watched_fsync(descriptor):
        events.append(("fsync", Path(os.readlink(f"/proc/self/fd/{descriptor}"))))
        fsync(descriptor)

    def watched_replace(a, b):
        events.append(("rename", Path(b)))
        written = {*Path(a).rglob("*"), Path(a)}
        assert written <= {path for kind, path in events if kind == "fsync"}
        assert (Path(a) / "manifest.json").is_file()
        replace(a, b)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "replace", watched_replace)
    (path,) = place.save(1)
    assert events[-2:] == [("rename", path), ("fsync", path.parent)]


def test_leftovers_of_a_crash_are_cleared_away(place):
    (path,) = place.save(1)
    shutil.copytree(path, path.with_name(".step-0000002.tmp"))
    os.replace(path, path.with_name(".step-0000001.old"))  # between two renames
    for name in (".model.tmp", ".best.old"):
        fill(place.output / name, name)
    fill(place.output / ".notes.tmp", "somebody else's")
    assert open_run(place.prepare()[0], "last", place.output) == (path, [])
    assert place.names() == ["step-0000001"]
    assert sorted(x.name for x in place.output.iterdir()) == [".notes.tmp", "best", "checkpoints"]


def test_a_run_that_may_be_going_on_is_left_alone(place):
    """A second start without --resume is refused before anything is cleared away."""
    place.save(1)
    writing = fill(place.output / "checkpoints/.step-0000002.tmp", "half")
    with pytest.raises(CheckpointError, match="holds a run that got to step-0000001"):
        open_run(place.prepare()[0], None, place.output)
    assert content(writing) == "half"


def test_what_is_kept_when_a_run_goes_on_from_an_earlier_checkpoint(place):
    """The two before each new one; later ones, damaged or not, until they are written anew."""
    place.recipe.checkpoint.keep_last = 3
    paths = place.save(1, 2, 3)
    flip_a_bit(paths[2] / "optimizer.bin")
    place.recipe.checkpoint.keep_last = 1
    place.save(2)
    assert place.names() == ["step-0000002", "step-0000003"]
    assert choose_checkpoint("last", place.output)[0].name == "step-0000002"
    place.save(3)
    assert place.names() == ["step-0000003"]
    assert choose_checkpoint("last", place.output) == (find_checkpoints(place.output)[0], [])


def test_the_loss_scale_of_fp16_is_kept(place):
    """A scaler with a history, as Accelerate has one under fp16; here for the CPU, which isn't trained in fp16."""
    accelerator, *_ = place.prepare()
    accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=7)
    parameter = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    for gradient in (1.0, float("inf"), 1.0, 1.0):
        accelerator.scaler.scale(parameter.sum()).backward()
        parameter.grad.fill_(gradient)
        accelerator.scaler.step(optimizer)
        accelerator.scaler.update()
    path = save_checkpoint(accelerator, place.recipe, place.output, TrainState(step=4))
    assert "scaler.pt" in json.loads((path / "manifest.json").read_text())["files"]

    accelerator, *_ = place.prepare()
    accelerator.scaler = torch.amp.GradScaler("cpu")
    load_checkpoint(accelerator, place.recipe, path)
    state = accelerator.scaler.state_dict()
    assert (state["scale"], state["_growth_tracker"], state["growth_interval"]) == (512.0, 2, 7)


FINGERPRINT = {"processes": 1, "precision": "no", "frames": 10, "data": "aa"}


@pytest.mark.parametrize(
    ("now", "message"),
    [
        ({"precision": "bf16"}, "trained with mixed precision no, now it is bf16: launch with --mixed_precision no"),
        ({"frames": 9, "data": "bb"}, r"other data: .* \(10 frames in the checkpoint, now 9\)"),
        ({}, None),
    ],
)
def test_what_the_recipe_does_not_say_is_compared_too(now, message, place):
    (path,) = place.save(1, fingerprint=FINGERPRINT)
    accelerator, *_ = place.prepare()
    if message is None:
        assert load_checkpoint(accelerator, place.recipe, path, {**FINGERPRINT, **now}).step == 1
    else:
        with pytest.raises(CheckpointError, match=message):
            load_checkpoint(accelerator, place.recipe, path, {**FINGERPRINT, **now})


def test_fingerprints_tell_data_apart(scenes, tmp_path):
    """Not where it lies, but which frames there are, in which order, and what the classes are."""
    rows, labels = data.load("street_scenes", scenes, "train"), data.label_set("street_scenes")
    moved = data.load("street_scenes", shutil.copytree(scenes, tmp_path / "moved"), "train")
    other = [(rows.select(range(9)), labels), (rows.select(range(9, -1, -1)), labels), (rows, data.label_set("camvid"))]
    accelerator = Accelerator(cpu=True)
    ours = run_fingerprint(accelerator, rows, labels)
    assert run_fingerprint(accelerator, moved, labels) == ours
    assert len({run_fingerprint(accelerator, *x)["data"] for x in other} | {ours["data"]}) == 4


@pytest.mark.parametrize("then", [2, 3])
def test_another_number_of_processes_is_said_and_draws_anew(then, place, caplog):
    (path,) = place.save(1, fingerprint={**FINGERPRINT, "processes": then})
    states = []
    for noise in (1, 2):  # whatever was drawn before, and without the generators of a process that isn't there
        accelerator, network, _ = place.prepare()
        (path / "random_states_0.pkl").unlink(missing_ok=True)
        torch.manual_seed(noise), random.seed(noise)
        caplog.clear()
        accelerator.step = 3
        load_checkpoint(accelerator, place.recipe, path, FINGERPRINT)
        assert f"was written by {then} processes, now there are 1" in caplog.text
        torch.testing.assert_close(network.state_dict(), load_file(path / "model.safetensors"), rtol=0, atol=0)
        assert accelerator.step == 0  # a step starts with its first micro-batch
        states.append((torch.get_rng_state().tolist(), random.getstate()))
    assert states[0] == states[1]


@pytest.fixture
def quick(tiny_recipe):
    def make(**fields):
        heads = {"ocr_channels": 16, "key_channels": 8, "dropout": 0.5}
        model = R.ModelRecipe("hr18s", backbone=None, config=heads, backbone_config=TINY_BACKBONE)
        checkpoint, silent = R.CheckpointRecipe(every=1, keep_last=3), R.LoggingRecipe(every=1, pictures=0)
        return tiny_recipe(model=model, checkpoint=checkpoint, logging=silent, **fields)

    return make


@pytest.mark.slow
def test_a_run_goes_on_before_a_damaged_checkpoint(quick):
    """It says so in train.log, and ends as if nothing had happened; a record that was cut off does no harm."""
    recipe = quick()
    whole = load_file(loop.train(recipe) / "model.safetensors")
    output = Path(recipe.output)
    shutil.rmtree(output / "model")
    flip_a_bit(output / "checkpoints/step-0000004/optimizer.bin")
    truncate(output / "checkpoints/step-0000003/random_states_0.pkl")
    with (output / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "mean_i')
    AcceleratorState._reset_state(reset_partial_state=True)
    model = loop.train(recipe, resume="auto")
    log = (output / "train.log").read_text()
    assert "step-0000004: damaged (optimizer.bin has a different checksum" in log
    assert "step-0000003: damaged (random_states_0.pkl has " in log
    assert "resumed from " + str(output / "checkpoints/step-0000002") in log
    assert '"mean_i' in log
    again = load_file(model / "model.safetensors")
    assert all(torch.equal(again[key], whole[key]) for key in whole)
    assert choose_checkpoint("last", output) == (output / "checkpoints/step-0000004", [])


@pytest.mark.slow
def test_the_best_need_not_be_kept(quick):
    recipe = quick(schedule=R.ScheduleRecipe(max_steps=1))
    recipe.checkpoint.keep_best = False
    folder = loop.train(recipe)
    assert not (folder.parent / "best").exists()
