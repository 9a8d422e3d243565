"""A dry run, and a run as long as the time allows."""

import logging
import re
from pathlib import Path

import pytest

from modeling_ocrnet.training import dry_run as dry_run_module
from modeling_ocrnet.training import loop
from modeling_ocrnet.training import recipe as R
from modeling_ocrnet.training.dry_run import dry_run, fit_to_time_budget


@pytest.mark.slow
def test_a_dry_run_leaves_nothing(tiny_recipe):
    recipe = tiny_recipe()
    said = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    logging.getLogger("modeling_ocrnet.training").addHandler(handler)
    dry_run(recipe)
    logging.getLogger("modeling_ocrnet.training").removeHandler(handler)
    assert not Path(recipe.output_dir).exists()
    assert re.search(r"4 steps of [\d.]+ s and 1 evaluations of 2 images.*peak memory [\d.]+ GB", said[-1])


@pytest.mark.slow
def test_a_run_of_so_many_minutes(tiny_recipe, monkeypatch):
    """By hand: 10 minutes are 600 s, 20 s have passed, 30 images take 1 s each, and a tenth is for the rest: 495 s are
    left for steps of 2 s."""
    monkeypatch.setattr(dry_run_module, "measure", lambda recipe, steps: dry_run_module.RunCost(2.0, 1.0, 30, 0, 0.0))
    monkeypatch.setattr(dry_run_module, "seconds_since_the_start", lambda: 20.0)
    recipe = tiny_recipe()
    assert fit_to_time_budget(recipe, 10).schedule == R.ScheduleRecipe(max_steps=200)  # 247, in steps of 50
    assert fit_to_time_budget(recipe, 0.1).schedule.max_steps == 50
    with pytest.raises(ValueError, match="minutes must be positive, got -1"):
        fit_to_time_budget(recipe, -1)

    loop.train(recipe)
    assert fit_to_time_budget(recipe, 10, "auto") == recipe  # a run that has begun keeps its length
