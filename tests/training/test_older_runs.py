"""Runs that older versions began go on (fixtures/older_run: a checkpoint, and how the version that wrote it did)."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from modeling_ocrnet.cli.recipe_parser import parse_recipe, recipe_parser
from modeling_ocrnet.training import loop
from modeling_ocrnet.training.state import CheckpointError, TrainState
from street_scenes import write_street_scenes

OLDER_RUN = Path(__file__).parents[1] / "fixtures" / "older_run"

OTHER_KERNELS = torch.__version__ < "2.7"  # which round otherwise than those of the fixture's torch


def records(path: Path) -> list[dict]:
    """Of a `metrics.jsonl`, without the speed."""
    lines = map(json.loads, path.read_text().splitlines())
    left_out = {"images_per_second"}
    if OTHER_KERNELS:  # shares of pixels, which ties between classes decide
        left_out |= {"pixel_accuracy", "overall_accuracy", "mean_accuracy", "mean_iou"}
        left_out |= {"ema_overall_accuracy", "ema_mean_accuracy", "ema_mean_iou"}
    return [{key: value for key, value in line.items() if key not in left_out} for line in lines]


@pytest.mark.slow
def test_an_older_run_goes_on_as_it_would_have(tmp_path):
    """The same samples, weights, momenta and averages: losses and scores are the older version's, within rounding."""
    write_street_scenes(tmp_path / "scenes", train=6, val=2, size=(64, 128), seed=1)
    checkpoint = tmp_path / "run/checkpoints/step-0000002"
    shutil.copytree(OLDER_RUN / "checkpoints/step-0000002", checkpoint)
    options = ["--data.root", str(tmp_path / "scenes"), "--output", str(tmp_path / "run")]
    recipe, _ = parse_recipe(recipe_parser(), ["--config", str(checkpoint / "recipe.yaml"), *options])
    loop.train(recipe, resume=str(checkpoint))
    found, expected = records(tmp_path / "run/metrics.jsonl"), records(OLDER_RUN / "continued.jsonl")
    assert len(found) == len(expected) == 4
    for ours, theirs in zip(found, expected, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-3)  # a pixel whose classes tie may change its label
    for ours, theirs in zip(found[:2], expected[:2], strict=True) if not OTHER_KERNELS else ():
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-6)


def test_an_older_state_is_read():
    """Its `facts` are the fingerprint."""
    state = TrainState.read(OLDER_RUN / "checkpoints/step-0000002", max_steps=4)
    assert (state.step, state.best["weights"], state.skipped, state.stream) == (2, "raw", 0, None)
    assert (state.fingerprint["frames"], state.fingerprint["precision"]) == (6, "no")
    again = TrainState()
    again.load_state_dict(json.loads(json.dumps(state.state_dict())))
    assert again == state


@pytest.mark.parametrize(
    ("field", "value"), [("step", 5), ("best", {"mean_iou": "good"}), ("facts", [1]), ("skipped", "1"), ("stream", 3)]
)
def test_a_state_that_no_run_writes_is_refused_in_one_line(field, value, tmp_path):
    content = json.loads((OLDER_RUN / "checkpoints/step-0000002/state.json").read_text())
    (tmp_path / "state.json").write_text(json.dumps({**content, field: value}))
    with pytest.raises(
        CheckpointError, match=r"state.json: can't be resumed from \(.*\): resume from another"
    ) as caught:
        TrainState.read(tmp_path, max_steps=4)
    assert "\n" not in str(caught.value)
