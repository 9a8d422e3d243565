"""A recipe that trains in seconds."""

import pytest
from accelerate.state import AcceleratorState
from tiny import TINY_BACKBONE

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
            "output_dir": str(tmp_path / "run"),
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
