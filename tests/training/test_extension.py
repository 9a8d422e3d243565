"""A run that goes on to a later end: `--resume last --extend`."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from helpers.machine import FLOOR, SECONDS, Machine, assert_falls_to_the_floor, steps_of, work_on
from helpers.signals import stop_after
from safetensors.torch import load_file

from modeling_ocrnet.common.errors import UserError
from modeling_ocrnet.training import loop
from modeling_ocrnet.training import recipe as R
from modeling_ocrnet.training.checkpoint import CheckpointError, find_checkpoints, write_recipe
from modeling_ocrnet.training.extension import check_recipe
from modeling_ocrnet.training.state import TrainState

PEAK = 0.01


@pytest.fixture
def of_steps(quick_recipe, tmp_path):
    """A recipe of so many steps, with whatever has a state: dropout, momentum, an average of the weights."""

    def make(steps: int, output: str = "run") -> R.Recipe:
        recipe = quick_recipe(schedule=R.ScheduleRecipe(max_steps=steps, warmup_steps=2), output=str(tmp_path / output))
        recipe.model.config["dropout"], recipe.model.ema_decay = 0.5, 0.9
        recipe.evaluation.every = 4
        return recipe

    return make


def poly(step: int, steps: int) -> float:
    """The learning rate of a step (counted from 1, after the warm-up) of a run of so many, as the papers write it."""
    return (PEAK - FLOOR) * (1 - (step - 1) / (steps - 1)) ** 0.9 + FLOOR


def assert_same_files(a: Path, b: Path) -> None:
    for name in ("model", "model_ema", "best"):
        ours, theirs = (load_file(x / name / "model.safetensors") for x in (a, b))
        assert [key for key in ours if not torch.equal(ours[key], theirs[key])] == [], name


@pytest.fixture
def names(monkeypatch):
    """The names of the samples of each micro-batch that a run takes, in their order."""
    taken: list[str] = []
    build_batches = loop.build_batches

    def watched(experiment, start):
        for batch in build_batches(experiment, start):
            taken.append(batch["names"])
            yield batch

    monkeypatch.setattr(loop, "build_batches", watched)
    return taken


@pytest.mark.slow
def test_an_extended_run_resumes_to_the_bit(of_steps, tmp_path, names):
    """Finished after 4 steps, extended to 8; once interrupted after 6, and resumed as any other run."""
    loop.train(of_steps(4))
    finished = load_file(tmp_path / "run/model/model.safetensors")
    first = list(names)
    shutil.copytree(tmp_path / "run", tmp_path / "parts")
    whole = loop.train(of_steps(8), resume="last", extend=True).parent
    extended = first + names[len(first) :]

    parts = tmp_path / "parts"
    with stop_after(6), pytest.raises(SystemExit):
        loop.train(of_steps(8, "parts"), resume="last", extend=True)
    kept = load_file(parts / "model/model.safetensors")  # of the finished run, until there is a new one
    assert all(torch.equal(finished[key], kept[key]) for key in finished)
    assert json.loads((parts / "model/metrics.json").read_text())["step"] == 4
    assert yaml.safe_load((parts / "recipe.yaml").read_text())["schedule"]["max_steps"] == 8
    loop.train(of_steps(8, "parts"), resume="last")
    assert_same_files(whole, parts)

    del names[:]
    loop.train(of_steps(8, "at_once"))
    assert extended == names

    for folder in (whole, parts):
        records = steps_of(replace(of_steps(8), output=str(folder)))
        assert [x["step"] for x in records] == list(range(1, 9))
        expected = [poly(step, 4 if step <= 4 else 8) for step in range(1, 9)]
        assert [x["lr"] for x in records[2:]] == pytest.approx(expected[2:], rel=1e-9)
        lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
        assert [x["step"] for x in lines if "mean_iou" in x] == [4, 8]
        log = (folder / "train.log").read_text()
        (said,) = re.findall(r"extended from 4 to 8 steps: .*", log)
        rates = [float(x) for x in re.findall(r"\d\.\d{3}e-\d\d", said)]
        assert rates == pytest.approx([records[3]["lr"], records[4]["lr"], records[7]["lr"]], rel=1e-3)
        assert said.endswith("; the warm-up isn't repeated")


@pytest.mark.slow
def test_a_run_that_stopped_half_way_can_be_extended_too(of_steps, tmp_path, monkeypatch):
    """After the first step, in its warm-up, which goes on; and the extension holds even if no step came after it."""

    def killed(*_):
        raise KeyboardInterrupt

    with stop_after(1), pytest.raises(SystemExit):
        loop.train(of_steps(4))
    with monkeypatch.context() as patch:
        patch.setattr(loop, "training_loop", killed)
        with pytest.raises(KeyboardInterrupt):
            loop.train(of_steps(6), resume="auto", extend=True)
    with stop_after(2), pytest.raises(SystemExit):
        loop.train(of_steps(6), resume="last")
    loop.train(of_steps(6), resume="auto", extend=True)  # the same command again: there is nothing to extend
    records = steps_of(of_steps(6))
    assert [x["lr"] for x in records] == pytest.approx(
        [PEAK * 0.1, poly(2, 6) * 0.55, *(poly(x, 6) for x in range(3, 7))]
    )
    log = (tmp_path / "run/train.log").read_text()
    assert log.count("extended from 4 to 6 steps") == 1
    assert "warm-up isn't repeated" not in log
    loop.train(of_steps(6), resume="auto")
    log = (tmp_path / "run/train.log").read_text()
    assert "all 6 steps of this run are done: none is left; to go on with it, give --extend" in log


OTHER, ONLY = "was trained with another recipe:\n  ", "and --extend changes only the run's length:\n  "
LENGTH, SEED = "schedule.max_steps: 8 in the checkpoint, now ", "seed: 0 in the checkpoint, now 1"


@pytest.mark.parametrize(
    ("now", "extend", "message"),
    [
        ({"steps": 9}, False, f"{OTHER}{LENGTH}9: give --extend to go on to step 9"),
        ({"steps": 7}, False, f"{OTHER}{LENGTH}7"),
        ({"steps": 9, "seed": 1}, False, f"{OTHER}{LENGTH}9\n  {SEED}"),
        ({"steps": 7}, True, "is of a run of 8 steps: give more"),
        ({"steps": 9, "seed": 1}, True, f"{ONLY}{SEED}"),
        ({"steps": 9, "power": 0.5}, True, f"{ONLY}schedule.power: 0.9 in the checkpoint, now 0.5"),
        ({"steps": 9}, True, None),
        ({"steps": 8}, True, None),
        ({"steps": 8, "evaluation": 3}, True, None),
    ],
)
def test_only_the_length_may_differ(now, extend, message, tmp_path):
    write_recipe(R.Recipe(schedule=R.ScheduleRecipe(max_steps=8)), tmp_path)
    schedule = R.ScheduleRecipe(max_steps=now["steps"], power=now.get("power", 0.9))
    evaluation = R.EvaluationRecipe(every=now.get("evaluation", 4000))
    recipe = R.Recipe(schedule=schedule, seed=now.get("seed", 0), evaluation=evaluation)
    if message is None:
        check_recipe(recipe, tmp_path, extend)
        return
    with pytest.raises(CheckpointError) as caught:
        check_recipe(recipe, tmp_path, extend)
    assert str(caught.value).endswith(message)


@pytest.mark.parametrize("steps", ["many", None, [8], 0])
def test_a_checkpoint_of_no_length_is_not_extended(steps, tmp_path):
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({"schedule": {"max_steps": steps}}))
    with pytest.raises(CheckpointError, match="schedule.max_steps: .* in the checkpoint, now 9"):
        check_recipe(R.Recipe(schedule=R.ScheduleRecipe(max_steps=9)), tmp_path, extend=True)


def test_there_must_be_a_run(quick_recipe):
    with pytest.raises(UserError, match="--extend goes on with a run: give --resume last as well"):
        loop.train(quick_recipe(), extend=True)


def state_of(recipe) -> tuple[Path, dict]:
    file = find_checkpoints(Path(recipe.output))[-1] / "state.json"
    return file, json.loads(file.read_text())


def test_more_minutes(timed_recipe, monkeypatch):
    """Two and a half, then five, interrupted at about four: the rate starts again at the middle of the schedule."""
    recipe, machine = timed_recipe(), Machine()
    rates = work_on(machine, replace=monkeypatch.setattr)
    loop.train(recipe, minutes=2.5, clock=machine)
    assert_falls_to_the_floor(rates)
    count, ended = len(rates), machine.now
    state = state_of(recipe)[1]
    assert state["minutes"] == 2.5
    over = state["seconds"] / 300
    assert 0.45 < over < 0.5

    for minutes, message in ((2, r"--minutes is 2, and .* of a run of 2\.5 minutes: give more"), (2.5, None)):
        machine.now = 5.0
        if message:
            with pytest.raises(UserError, match=message):
                loop.train(recipe, "last", minutes=minutes, clock=machine, extend=True)
        else:
            loop.train(recipe, "last", minutes=minutes, clock=machine, extend=True)
        assert len(rates) == count

    machine.now = 5.0
    with stop_after(count + 40), pytest.raises(SystemExit):
        loop.train(recipe, "last", minutes=5, clock=machine, extend=True)
    used = state_of(recipe)[1]["seconds"]
    assert used == ended + machine.now - SECONDS["checkpoint"]
    machine.now = 5.0
    loop.train(recipe, "last", minutes=5, clock=machine)
    assert used + machine.now == pytest.approx(300, rel=0.05)
    assert [x["step"] for x in steps_of(recipe)] == list(range(1, len(rates) + 1))
    extended = rates[count:]
    assert extended == sorted(extended, reverse=True)  # no warm-up
    assert extended[-1] == pytest.approx(FLOOR, rel=1e-12)
    assert extended[0] == pytest.approx((PEAK - FLOOR) * (1 - over) ** 0.9 + FLOOR, rel=1e-6)
    log = (Path(recipe.output) / "train.log").read_text()
    (said,) = re.findall(r"extended from 2\.5 to 5 minutes: .*", log)
    start, middle, end = (float(x) for x in re.findall(r"\d\.\d{3}e-\d\d", said))
    assert (start, end) == (FLOOR, FLOOR)
    assert middle == pytest.approx(extended[0], rel=1e-3)
    assert f"of which {over:.0%} are over" in said


def test_a_much_longer_time_repeats_no_warm_up(timed_recipe, monkeypatch):
    """A tenth of 25 minutes is the warm-up, and two and a half are over. The checkpoint doesn't say of how many, as
    older ones don't."""
    recipe, machine = timed_recipe(), Machine()
    rates = work_on(machine, replace=monkeypatch.setattr)
    with stop_after(30), pytest.raises(SystemExit):
        loop.train(recipe, minutes=2.5, clock=machine)
    file, state = state_of(recipe)
    del state["minutes"], state["took"]
    file.write_text(json.dumps(state))
    monkeypatch.setattr("modeling_ocrnet.training.checkpoint.find_corruption", lambda _: None)
    with pytest.raises(UserError, match=r"has used 1\.1 minutes, and --minutes 0\.5 is the time of the whole run"):
        loop.train(recipe, "last", minutes=0.5, clock=machine, extend=True)
    machine.now = 5.0
    with stop_after(33), pytest.raises(SystemExit):
        loop.train(recipe, "last", minutes=25, clock=machine, extend=True)
    assert rates[30] == max(rates)
    assert rates[30:] == sorted(rates[30:], reverse=True)


def test_a_run_of_steps_gets_no_minutes(timed_recipe, monkeypatch):
    recipe = timed_recipe(schedule=R.ScheduleRecipe(max_steps=1))
    work_on(Machine(), replace=monkeypatch.setattr)
    loop.train(recipe)
    with pytest.raises(CheckpointError, match="leave it out; --extend goes on with such a run to more --schedule.max"):
        loop.train(recipe, "last", minutes=1, extend=True)


@pytest.mark.parametrize("minutes", ["5", 0.0, -1.0, float("inf")])
def test_a_checkpoint_whose_minutes_can_not_be_meant(minutes):
    with pytest.raises(ValueError, match="minutes is .*, expected more than 0"):
        TrainState().load_state_dict({"step": 3, "best": None, "minutes": minutes})
