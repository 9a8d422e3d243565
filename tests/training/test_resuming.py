"""Resumed runs are the uninterrupted ones, or are refused."""

import json
from pathlib import Path

import datasets
import pytest
import torch
from helpers.signals import stop_after
from safetensors.torch import load_file

from modeling_ocrnet.preparation.export_dataset import export
from modeling_ocrnet.training import loop
from modeling_ocrnet.training import recipe as R
from modeling_ocrnet.training.checkpoint import CheckpointError


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def assert_same_weights(a: Path, b: Path):
    ours, theirs = weights(a), weights(b)
    assert ours.keys() == theirs.keys()
    assert [key for key in ours if not torch.equal(ours[key], theirs[key])] == []


@pytest.mark.slow
def test_a_resumed_run_is_the_uninterrupted_one(tiny_recipe, tmp_path):
    model = R.ModelRecipe("hr18s", backbone=None, config={"ocr_channels": 16, "key_channels": 8, "dropout": 0.5})
    whole = loop.train(tiny_recipe(model=model))
    recipe = tiny_recipe(model=model, output=str(tmp_path / "parts"))
    with stop_after(3), pytest.raises(SystemExit):
        loop.train(recipe)
    parts = loop.train(recipe, resume="last")
    assert_same_weights(whole, parts)
    steps = [json.loads(x)["step"] for x in (tmp_path / "parts/metrics.jsonl").read_text().splitlines()]
    assert sorted(set(steps)) == [1, 2, 3, 4]


@pytest.mark.slow
def test_a_run_from_a_stream_resumes_where_it_stopped(tiny_recipe, scenes, tmp_path, monkeypatch):
    """From an export's Parquet, over the end of an epoch (10 samples)."""
    name = "SLEEP_TIME_ON_THREADS_SHUTDOWN"  # since datasets 4.1: five seconds otherwise
    monkeypatch.setattr(datasets.config, name, 0.1, raising=False)
    folder = export("street_scenes", str(tmp_path / "parquet"), str(scenes))
    options = {"crop_size": (32, 64), "scale": (128, 64), "workers": 0, "streaming": True, "shuffle_buffer": 4}
    source = R.DataRecipe("hub", path=str(folder), mask_column="label", **options)
    whole = loop.train(tiny_recipe(data=source))
    recipe = tiny_recipe(data=source, output=str(tmp_path / "parts"))
    with stop_after(3), pytest.raises(SystemExit):
        loop.train(recipe)
    state = json.loads((tmp_path / "parts/checkpoints/step-0000003/state.json").read_text())
    assert state["stream"] == [[[1, 2]]]  # one process, one worker: the second epoch, two samples
    parts = loop.train(recipe, resume="last")
    assert_same_weights(whole, parts)
    source.workers = 2
    with pytest.raises(CheckpointError, match="data.workers: 0 in the checkpoint, now 2"):
        loop.train(recipe, resume="last")


@pytest.mark.slow
def test_a_new_run_does_not_write_over_an_old_one(tiny_recipe):
    recipe = tiny_recipe(schedule=R.ScheduleRecipe(max_steps=1))
    loop.train(recipe)
    with pytest.raises(CheckpointError, match="go on with --resume last, or choose another --output"):
        loop.train(recipe)
    assert loop.train(recipe, resume="auto").is_dir()  # there is nothing left to do


@pytest.mark.slow
def test_resuming_under_another_recipe_is_refused(tiny_recipe):
    loop.train(tiny_recipe(schedule=R.ScheduleRecipe(max_steps=1)))
    with pytest.raises(CheckpointError, match="schedule.max_steps: 1 in the checkpoint, now 4"):
        loop.train(tiny_recipe(), resume="last")


@pytest.mark.parametrize(
    ("resume", "message"), [("last", "no checkpoint to resume"), ("some/where", "not a checkpoint")]
)
def test_resuming_from_nothing_is_refused(tiny_recipe, resume, message):
    with pytest.raises(CheckpointError, match=message):
        loop.train(tiny_recipe(), resume=resume)
