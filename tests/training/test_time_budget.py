"""Runs of so many minutes, on a clock that the work itself moves on: nothing waits."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from helpers import multiprocess
from helpers.machine import FLOOR, SECONDS, WARMUP, Machine, assert_falls_to_the_floor, steps_of, work_on
from helpers.signals import stop_after

from modeling_ocrnet.common.errors import UserError
from modeling_ocrnet.training import loop
from modeling_ocrnet.training import recipe as R
from modeling_ocrnet.training.checkpoint import CheckpointError, find_checkpoints
from modeling_ocrnet.training.optimization import learning_rate
from modeling_ocrnet.training.run_time import process_clock, seconds_since_the_start
from modeling_ocrnet.training.state import TrainState
from modeling_ocrnet.training.time_budget import TimeBudget, recipe_as_run


@pytest.mark.parametrize("slow_from", [20.0, 75.0])
def test_a_machine_that_slows_down(timed_recipe, monkeypatch, slow_from):
    """Threefold, at the start or midway of two and a half minutes: the run ends within a tenth of them."""
    machine, recipe = Machine(slow_from=slow_from), timed_recipe()
    rates = work_on(machine, replace=monkeypatch.setattr)
    model = loop.train(recipe, minutes=2.5, clock=machine)
    assert machine.now == pytest.approx(150, rel=0.1)
    assert_falls_to_the_floor(rates)
    assert len(rates) < 60  # at full speed there would be time for more than 80
    written = yaml.safe_load((model / "recipe.yaml").read_text())
    assert written["schedule"]["max_steps"] == json.loads((model / "metrics.json").read_text())["step"] == len(rates)
    for folder in ("best", "."):
        assert yaml.safe_load((model.parent / folder / "recipe.yaml").read_text()) == written
    assert find_checkpoints(model.parent)[-1].name == f"step-{len(rates):07d}"
    log = (model.parent / "train.log").read_text()
    assert f"step 2  {(5 + 2 * 1.5) / 150:.0%} of 2.5 minutes  loss" in log
    assert f"asked: 2.5 minutes; took: {machine.now / 60:.1f} minutes, {len(rates)} steps (" in log


def test_a_machine_that_does_not_slow_down(timed_recipe, monkeypatch):
    """The learning rates are those of a fixed run of as many steps, but for the length of two steps."""
    machine, recipe = Machine(), timed_recipe()
    rates = work_on(machine, replace=monkeypatch.setattr)
    loop.train(recipe, minutes=2.5, clock=machine)
    assert 150 - 2 * SECONDS["step"] - 3 * SECONDS["checkpoint"] < machine.now <= 150
    fixed = recipe_as_run(recipe, len(rates)).schedule
    assert fixed.warmup_steps == round(WARMUP * len(rates))
    close_by = [[learning_rate(max(0, n + shift), 0.01, fixed) for shift in (-2, 2)] for n in range(len(rates))]
    for n, (rate, pair) in enumerate(zip(rates, close_by, strict=True)):
        if abs(n - fixed.warmup_steps) > 2:
            assert min(pair) - 1e-9 <= rate <= max(pair) + 1e-9, n
    assert_falls_to_the_floor(rates)


def simulate(budget: TimeBudget, machine: Machine, step: float, end: float, schedule: R.ScheduleRecipe) -> list[float]:
    """The learning rates of a run of steps alone, and one evaluation at its end."""
    rates = []
    for _ in budget.steps(0):
        rates.append(learning_rate(budget.position(schedule), 0.01, schedule))
        machine.work(step)
        if budget.step_done():
            budget.expect({"image": 10}, {})
            with budget.measuring("image", 1):
                machine.work(end / 10)
            budget.check_end_fits("")
    machine.work(end)
    return rates


@pytest.mark.parametrize("step", [0.1, 1.0, 7.0])
@pytest.mark.parametrize("end", [0.0, 20.0, 100.0])
def test_steps_of_one_duration_make_the_fixed_schedule(step, end):
    """Nearly: the time of an evaluation's tenth, in which it was measured, is no step's."""
    machine = Machine()
    budget = TimeBudget(SimpleNamespace(num_processes=1, is_main_process=True), 5, clock=machine)
    schedule = R.ScheduleRecipe(max_steps=800, min_lr=1e-5, warmup_steps=8)
    rates = simulate(budget, machine, step, end, schedule)
    assert 300 - 2 * step < machine.now <= 300 + 1e-6
    fixed = recipe_as_run(R.Recipe(schedule=schedule), len(rates)).schedule
    share = 0.01 * max(2.5 / len(rates), 0.003)
    for n, rate in enumerate(rates):
        if n >= max(4, 0.02 * len(rates)):  # after the warm-up
            assert rate == pytest.approx(learning_rate(n, 0.01, fixed), abs=share), n


@pytest.mark.parametrize("factor", [1 / 3, 3.0])
@pytest.mark.parametrize("slow_from", [30.0, 100.0, 150.0, 200.0])
def test_whenever_a_machine_changes_its_speed(factor, slow_from):
    machine = Machine(slow_from=slow_from, factor=factor)
    budget = TimeBudget(SimpleNamespace(num_processes=1, is_main_process=True), 5, clock=machine)
    schedule = R.ScheduleRecipe(max_steps=800, min_lr=FLOOR, warmup_steps=8)
    rates = simulate(budget, machine, 1.0, 20.0, schedule)
    assert machine.now == pytest.approx(300, rel=0.05)
    assert_falls_to_the_floor(rates)


def run_on(machines: list[Machine], recipe, target: Path) -> None:
    """A run in this process, whose clock is its own machine's; the learning rates of its steps."""
    rank = loop.build_accelerator(recipe).process_index
    rates = work_on(machines[rank])
    loop.train(recipe, minutes=2, clock=machines[rank])
    target.with_name(f"rates{rank}.json").write_text(json.dumps([rates, machines[rank].now]))


@pytest.mark.distributed
@pytest.mark.slow
def test_all_processes_follow_the_first_ones_clock(timed_recipe, tmp_path, monkeypatch):
    """The second one's is late, and runs at another speed: both take the same steps, those of a process alone."""
    recipe = timed_recipe(global_batch=4, micro_batch=2)
    machines = [Machine(slow_from=60.0), Machine(start=70.0, slow_from=80.0, factor=7.0)]
    with multiprocess.Ranks(tmp_path, run_on, machines, recipe, tmp_path / "x", world=2) as run:
        assert run.exit_codes() == [0, 0], run.text()
    (first, now), (second, other) = (json.loads((tmp_path / f"rates{x}.json").read_text()) for x in (0, 1))
    assert first == second
    assert now == pytest.approx(120, rel=0.1)
    assert other > 200
    alone, machine = timed_recipe(output=str(tmp_path / "alone")), Machine(slow_from=60.0)
    rates = work_on(machine, replace=monkeypatch.setattr)
    loop.train(alone, minutes=2, clock=machine)
    assert len(first) == pytest.approx(len(rates), abs=2)  # of the evaluation's sample it takes half as much


def test_a_resumed_run_counts_what_was_used(timed_recipe, monkeypatch):
    recipe, machine = timed_recipe(), Machine()
    rates = work_on(machine, replace=monkeypatch.setattr)
    with stop_after(20), pytest.raises(SystemExit):
        loop.train(recipe, minutes=2.5, clock=machine)
    file = find_checkpoints(Path(recipe.output))[-1] / "state.json"
    used = json.loads(file.read_text())["seconds"]
    assert used == machine.now - SECONDS["checkpoint"]
    with pytest.raises(UserError, match=r"has used 0\.7 minutes, and --minutes 0\.5 is the time of the whole run"):
        loop.train(recipe, "last", minutes=0.5, clock=machine)
    with pytest.raises(CheckpointError, match=r"was given in minutes, of which it has used 0\.7: give --minutes"):
        loop.train(recipe, "last")

    machine.now = 5.0  # of the second process
    loop.train(recipe, "last", minutes=2.5, clock=machine)
    assert used + machine.now == pytest.approx(150, rel=0.1)
    assert_falls_to_the_floor(rates)
    assert [x["step"] for x in steps_of(recipe)] == list(range(1, len(rates) + 1))

    count = len(rates)
    assert loop.train(recipe, "auto", minutes=2.5, clock=machine).is_dir()  # there is nothing left to do
    assert len(rates) == count


def test_minutes_do_not_change_a_fixed_run(timed_recipe, monkeypatch):
    recipe = timed_recipe(schedule=R.ScheduleRecipe(max_steps=1))
    work_on(Machine(), replace=monkeypatch.setattr)
    loop.train(recipe)
    with pytest.raises(CheckpointError, match="length was given in steps, which --minutes can't change: leave it out"):
        loop.train(recipe, "last", minutes=1)


def test_time_that_is_too_short_for_the_end(timed_recipe, monkeypatch):
    """Two images of 50 s each don't fit into 90 s: that is said before a checkpoint is written."""
    recipe, machine = timed_recipe(), Machine()
    work_on(machine, {**SECONDS, "image": 50.0}, replace=monkeypatch.setattr)
    said = r"--minutes 1\.5 is too short: .* at the end takes about 100 s: give --minutes 6 or more, or "
    said += "evaluate fewer than 2 images with --evaluation.limit"
    with pytest.raises(UserError, match=said):
        loop.train(recipe, minutes=1.5, clock=machine)
    assert find_checkpoints(Path(recipe.output)) == []


def test_an_evaluation_for_which_there_is_no_time_is_left_out(timed_recipe, monkeypatch):
    """Two of 12 s fit into 60 s, beside what else there is: the one at the end, and one before."""
    recipe, machine = timed_recipe(evaluation=R.EvaluationRecipe(every=4)), Machine()
    work_on(machine, {**SECONDS, "image": 4.0}, replace=monkeypatch.setattr)
    model = loop.train(recipe, minutes=1, clock=machine)
    assert machine.now == pytest.approx(60, rel=0.1)
    log = (model.parent / "train.log").read_text()
    assert "not evaluated here: the time that is left is for the evaluation at the end" in log
    assert log.count("evaluated step") == 1 + log.count("evaluated step 4 ")


@pytest.mark.parametrize("minutes", [0, -1, math.nan, math.inf])
def test_minutes_are_positive(quick_recipe, minutes):
    with pytest.raises(UserError, match="--minutes must be positive, got"):
        loop.train(quick_recipe(), minutes=minutes)


def test_a_commands_clock_begins_with_the_process(timed_recipe):
    first = seconds_since_the_start()
    budget = TimeBudget(SimpleNamespace(num_processes=1, is_main_process=True), 1000, clock=process_clock())
    assert 0 < first <= budget.used <= seconds_since_the_start() + 0.1


@pytest.mark.parametrize("values", [{"seconds": "5"}, {"seconds": -1.0}, {"seconds": math.inf}, {"share": 1.5}])
def test_a_checkpoint_whose_time_can_not_be_meant(values):
    with pytest.raises(ValueError, match=f"{next(iter(values))} is .*, expected 0"):
        TrainState().load_state_dict({"step": 3, "best": None, **values})
