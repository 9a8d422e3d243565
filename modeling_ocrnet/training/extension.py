"""Going on with a run to a later end than it had: `--extend`.

From the step that the run has come to, the schedule of the new length holds. That depends on nothing but the step, as
everywhere, so an extended run that is interrupted is resumed to the bit.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..common.errors import UserError
from .optimization import learning_rate
from .recipe import Recipe, ScheduleRecipe, as_dict, differences, flatten
from .recipe_file import read_recipe
from .state import CheckpointError, TrainState
from .time_budget import TimeBudget, no_time_left

LENGTH = "schedule.max_steps"


def check_recipe(recipe: Recipe, path: Path, extend: bool, by_steps: bool = True) -> None:
    """Check that a run of a recipe may go on from a checkpoint.

    Args:
        recipe: of the run.
        path: the checkpoint's folder, which holds the recipe of the run that wrote it.
        extend: whether the run may be longer than that one.
        by_steps: whether the recipe's steps are its length, and not so many minutes.

    Raises:
        CheckpointError: if not; the message names each field that differs.
        UserError: if the checkpoint's recipe can't be read.
    """
    theirs = read_recipe(path / "recipe.yaml")
    found = differences(as_dict(recipe), theirs)
    if recipe.model.init_from is not None and any(x.startswith("model.init_from: ") for x in found):
        raise CheckpointError(
            f"{path} has its own weights, from which a resumed run goes on; model.init_from "
            f"{recipe.model.init_from} starts another run: leave --resume out and give another --output, or leave "
            "model.init_from as it was"
        )
    now, then = recipe.schedule.max_steps, _steps(theirs)
    length = [x for x in found if x.startswith(f"{LENGTH}: ")] if by_steps and then is not None else []
    if extend and length:
        found = [x for x in found if x not in length]
    if found and extend:
        noted = not by_steps and all(x.startswith("schedule.") for x in found)
        remedy = ": a run of minutes notes the steps that it took: give the recipe that it began with" if noted else ""
        raise CheckpointError(
            f"{path} was trained with another recipe, and --extend changes only the run's length:\n  "
            + "\n  ".join(found)
            + remedy
        )
    if found:
        longer = found == length and then is not None and now > then
        remedy = f": give --extend to go on to step {now}" if longer else ""
        raise CheckpointError(f"{path} was trained with another recipe:\n  " + "\n  ".join(found) + remedy)
    if length and then is not None and now < then:
        raise CheckpointError(
            f"--extend goes on to a later end, but {LENGTH} is {now}, and {path} is of a run of {then} steps: give more"
        )


def _steps(theirs: dict) -> int | None:
    """The length of a checkpoint's run in steps; `None` if its recipe holds something else."""
    steps = (flatten(as_dict(Recipe())) | flatten(theirs)).get(LENGTH)
    return steps if type(steps) is int and steps > 0 else None


def steps_before(path: Path, recipe: Recipe) -> int:
    """The number of steps of the run that wrote the checkpoint `path`, which [`check_recipe`] has passed."""
    return _steps(read_recipe(path / "recipe.yaml")) or recipe.schedule.max_steps


def extended_by_steps(recipe: Recipe, state: TrainState, then: int) -> str | None:
    """One line on the extension of a run of `then` steps to those of the recipe; `None` if it has as many."""
    schedule = recipe.schedule
    if schedule.max_steps == then:
        return None
    base = recipe.optimizer.lr
    old = learning_rate(max(0, state.step - 1), base, replace(schedule, max_steps=then))
    new = learning_rate(state.step, base, schedule)
    return (
        f"extended from {then} to {schedule.max_steps} steps: from here on, the schedule of {schedule.max_steps} steps "
        f"holds: {_rates(old, new, schedule, state.step)} at step {schedule.max_steps}{_warmup(state.step, schedule)}"
    )


def extended_by_minutes(recipe: Recipe, state: TrainState, budget: TimeBudget, path: Path) -> tuple[str | None, float]:
    """One line on the extension of a run of so many minutes to those of `budget` (`None` if it has as many), and how
    much of the schedule is over then.

    That is the share of the new time that the run has used, but no less than the warm-up if that was over.

    Raises:
        UserError: if the run has used that much time already, or the new end is earlier than the old one.
    """
    used, then = state.seconds or 0.0, state.minutes
    if then is not None and budget.minutes < then:
        raise UserError(
            f"--extend goes on to a later end, but --minutes is {budget.minutes:g}, and {path} is of a run of {then:g} "
            "minutes: give more"
        )
    if then == budget.minutes:
        return None, state.share
    if used >= budget.seconds:
        raise no_time_left(used, budget.minutes)
    schedule, base = recipe.schedule, recipe.optimizer.lr
    length = max(1, schedule.max_steps - 1)
    share = max(min(state.share, used / budget.seconds), min(state.share, schedule.warmup_steps / length))
    old, new = (learning_rate(x * length, base, schedule) for x in (state.share, share))
    was = "" if then is None else f"from {then:g} "
    now = f"{budget.minutes:g} minute{'' if budget.minutes == 1 else 's'}"
    text = (
        f"extended {was}to {now}: from here on, the longer run's "
        f"schedule holds, of which {share:.0%} are over: {_rates(old, new, schedule, state.step)} in the last step"
    )
    return text + _warmup(share * length, schedule), share


def _rates(old: float, new: float, schedule: ScheduleRecipe, step: int) -> str:
    return f"the learning rate was {old:.3e} at step {step}, goes on at {new:.3e}, and falls to {schedule.min_lr:.3e}"


def _warmup(position: float, schedule: ScheduleRecipe) -> str:
    return "" if position < schedule.warmup_steps or not schedule.warmup_steps else "; the warm-up isn't repeated"
