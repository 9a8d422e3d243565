"""A recipe that trains in seconds."""

import json

import pytest
from accelerate.state import AcceleratorState
from helpers import multiprocess
from helpers.machine import FLOOR, WARMUP
from helpers.tiny import TINY_BACKBONE

from modeling_ocrnet.training import recipe as R


@pytest.fixture(autouse=True)
def _fresh_accelerator():
    """Accelerate keeps one state a process, in which precision can't change."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def tiny_recipe(scenes, tmp_path):
    def make(**fields) -> R.Recipe:
        defaults = {
            "data": R.DataRecipe("street_scenes", str(scenes), crop_size=(32, 64), scale=(128, 64), workers=0),
            "model": R.ModelRecipe("hr18s", backbone=None, config={"ocr_channels": 16, "key_channels": 8}),
            "schedule": R.ScheduleRecipe(max_steps=4),
            "evaluation": R.EvaluationRecipe(every=4, limit=2),
            "checkpoint": R.CheckpointRecipe(every=2),
            "logging": R.LoggingRecipe(every=1, pictures=1),
            "global_batch": 4,
            "micro_batch": 2,
            "mixed_precision": "no",
            "output": str(tmp_path / "run"),
        }
        return R.Recipe(**{**defaults, **fields})

    return make


@pytest.fixture
def quick_recipe(tiny_recipe):
    """The smallest network, for runs that something stops."""

    def make(**fields) -> R.Recipe:
        heads = {"ocr_channels": 16, "key_channels": 8, "dropout": 0.0}
        defaults = {
            "model": R.ModelRecipe("hr18s", backbone=None, config=heads, backbone_config=TINY_BACKBONE),
            "schedule": R.ScheduleRecipe(max_steps=2000),
            "evaluation": R.EvaluationRecipe(every=2000, limit=2),
            "logging": R.LoggingRecipe(every=1, pictures=0),
        }
        return tiny_recipe(**{**defaults, **fields})

    return make


@pytest.fixture
def timed_recipe(quick_recipe):
    """Evaluates and leaves checkpoints in between; a tenth of the schedule is its warm-up."""

    def make(**fields) -> R.Recipe:
        defaults = {
            "schedule": R.ScheduleRecipe(max_steps=1000, min_lr=FLOOR, warmup_steps=round(1000 * WARMUP)),
            "evaluation": R.EvaluationRecipe(every=25, limit=2),
            "checkpoint": R.CheckpointRecipe(every=10),
            "global_batch": 2,
        }
        return quick_recipe(**{**defaults, **fields})

    return make


@pytest.fixture
def losses(quick_recipe, tmp_path):
    """Ten steps of 4 images: what `multiprocess.write_losses` writes, by processes and micro-batch."""

    def of(world: int, micro_batch: int, frozen: bool, start=multiprocess.write_losses, *arguments, **options) -> dict:
        name = f"{world}-{micro_batch}-{frozen}-{start.__name__}"
        recipe = quick_recipe(
            micro_batch=micro_batch,
            schedule=R.ScheduleRecipe(max_steps=10, min_lr=1e-5),
            optimizer=R.OptimizerRecipe(lr=1e-4),  # rounding grows with it
            output=str(tmp_path / name),
        )
        (tmp_path / name).mkdir()
        target = tmp_path / name / "losses.json"
        arguments += (recipe, frozen, target)
        with multiprocess.Ranks(tmp_path / name, start, *arguments, world=world, **options) as run:
            assert run.exit_codes() == [0] * world, run.text()
        return json.loads(target.read_text())

    return of
