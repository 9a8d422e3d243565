"""What a run says at its end: what was asked, and what it took."""

import json
import re
import time
from pathlib import Path

import pytest
from helpers.machine import SECONDS, Machine, work_on
from helpers.signals import stop_after

from modeling_ocrnet.training import loop
from modeling_ocrnet.training import recipe as R
from modeling_ocrnet.training.checkpoint import find_checkpoints
from modeling_ocrnet.training.run_time import summarize, summary_line
from modeling_ocrnet.training.state import TrainState

LINE = re.compile(
    r"asked: ([\d.]+) (steps|minutes); took: ([\d.]+) minutes, (\d+) steps \(([\d.]+) images/s, start and evaluations "
    r"included\)(.*)"
)


@pytest.fixture
def watched(timed_recipe, monkeypatch):
    """A recipe of so many steps, and the machine that runs it; a checkpoint every ten steps, two images a step."""

    def make(steps: int = 20) -> tuple[R.Recipe, Machine]:
        return timed_recipe(schedule=R.ScheduleRecipe(max_steps=steps)), machine

    machine = Machine()
    work_on(machine, replace=monkeypatch.setattr)
    return make


def said(recipe: R.Recipe) -> list[tuple[str, ...]]:
    """What each part of the run said: asked, its unit, minutes, steps, images a second, and what else."""
    return LINE.findall((Path(recipe.output) / "train.log").read_text())


def noted(recipe: R.Recipe) -> dict:
    return json.loads((Path(recipe.output) / "model/metrics.json").read_text())


def assert_took(recipe: R.Recipe, asked: float, unit: str, seconds: float, steps: int, rest: str = "") -> None:
    """The last line, and the same numbers in the model's folder."""
    assert noted(recipe)["asked"] == {unit: asked}
    assert noted(recipe)["took"] == {
        "seconds": pytest.approx(seconds, abs=0.05),
        "steps": steps,
        "images_per_second": pytest.approx(2 * steps / seconds, rel=1e-3),
    }
    assert said(recipe)[-1] == (
        f"{asked:g}",
        unit,
        f"{seconds / 60:.1f}",
        str(steps),
        f"{2 * steps / seconds:.1f}",
        rest,
    )


def test_a_run_of_steps(watched):
    recipe, machine = watched()
    loop.train(recipe, clock=machine)
    # five seconds of start, and the work: 20 steps, an evaluation of two images, two checkpoints, two models, pictures
    expected = 5 + 20 * SECONDS["step"] + 2 * SECONDS["image"] + 2 * SECONDS["checkpoint"]
    expected += 2 * SECONDS["model"] + SECONDS["drawing"]
    assert machine.now == expected
    assert_took(recipe, 20, "steps", expected, 20)

    machine.now = 5.0
    loop.train(recipe, "last", clock=machine)  # there is nothing left to do
    assert_took(recipe, 20, "steps", expected, 20)


def test_a_run_of_minutes(watched):
    recipe, machine = watched()
    loop.train(recipe, minutes=2.5, clock=machine)
    assert_took(recipe, 2.5, "minutes", machine.now, noted(recipe)["step"])


def test_an_interrupted_a_resumed_and_an_extended_run(watched):
    """The seconds until the last checkpoint count, and those of its own writing are lost."""
    recipe, machine = watched()
    with stop_after(13), pytest.raises(SystemExit):
        loop.train(recipe, clock=machine)
    first = 5 + 13 * SECONDS["step"] + SECONDS["checkpoint"]
    shown = first + SECONDS["checkpoint"]  # it says so after it has saved one
    assert said(recipe) == [("20", "steps", f"{shown / 60:.1f}", "13", f"{26 / shown:.1f}", "")]

    machine.now = 5.0
    loop.train(recipe, "last", clock=machine)
    whole = first + machine.now
    assert_took(recipe, 20, "steps", whole, 20)

    longer, machine = watched(30)
    machine.now = 5.0
    loop.train(longer, "last", clock=machine, extend=True)
    assert_took(longer, 30, "steps", whole + machine.now, 30)
    assert len(said(longer)) == 3


def test_a_run_that_an_older_version_began(watched, monkeypatch):
    recipe, machine = watched()
    monkeypatch.setattr("modeling_ocrnet.training.checkpoint.find_corruption", lambda _: None)
    with stop_after(12), pytest.raises(SystemExit):
        loop.train(recipe, clock=machine)
    file = find_checkpoints(Path(recipe.output))[-1] / "state.json"
    state = json.loads(file.read_text())
    del state["took"], state["minutes"]
    file.write_text(json.dumps(state))
    machine.now = 5.0
    loop.train(recipe, "last", clock=machine)
    assert_took(recipe, 20, "steps", machine.now, 8, "; the time of the 12 steps before isn't known")


def test_in_a_program_the_time_before_the_call_does_not_count(quick_recipe):
    recipe, started = quick_recipe(schedule=R.ScheduleRecipe(max_steps=2)), time.monotonic()
    loop.train(recipe)
    # the scores say tenths of a second, and a run of 0.38 seconds says 0.4
    assert 0 < noted(recipe)["took"]["seconds"] <= round(time.monotonic() - started, 1)


def test_one_of_something():
    one = summarize({"minutes": 1.0}, {"seconds": 60.0, "steps": 6}, images=2)
    assert summary_line(one, 6).startswith("asked: 1 minute;")
    unknown = summarize({"steps": 5}, {"seconds": 0.0, "steps": 0}, images=2)
    assert summary_line(unknown, 5) == "asked: 5 steps; took: 5 steps, in a time that isn't known"


def test_an_older_run_of_minutes_knows_its_time():
    state = TrainState()
    state.load_state_dict({"step": 3, "best": None, "seconds": 7.5})
    assert state.took == {"seconds": 7.5, "steps": 3}


@pytest.mark.parametrize("took", [None, [1], {}, {"seconds": 1.0}, {"seconds": -1.0, "steps": 3}])
def test_a_checkpoint_whose_length_can_not_be_meant(took):
    with pytest.raises(ValueError, match="took is .*, expected seconds and steps"):
        TrainState().load_state_dict({"step": 3, "best": None, "took": took})


@pytest.mark.parametrize("content", ["{", "[]", '{"step": 20, "took": 3}', '{"step": 19}', "null"])
def test_scores_that_do_not_say_the_time_do_no_harm(content, watched):
    recipe, machine = watched()
    loop.train(recipe, clock=machine)
    (Path(recipe.output) / "model/metrics.json").write_text(content)
    machine.now = 5.0
    loop.train(recipe, "last", clock=machine)
    # what the last checkpoint knows
    assert_took(recipe, 20, "steps", 5 + 20 * SECONDS["step"] + 2 * SECONDS["image"] + SECONDS["checkpoint"] + 0.5, 20)
