"""A run of so many minutes: its schedule follows the clock instead of the number of steps."""

from __future__ import annotations

import itertools
import logging
import math
import statistics
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import torch
from accelerate import Accelerator

from ..common.errors import UserError
from .recipe import Recipe, ScheduleRecipe
from .run_time import stopwatch

logger = logging.getLogger("modeling_ocrnet.training")

_FEW, _MANY = 3, 9  # steps whose median is a step's duration just now, and typically


@dataclass(frozen=True)
class _Cost:
    """Seconds that something took, and those that a step took at that time."""

    seconds: float
    step: float


class TimeBudget:
    """The time of a run: how much of its schedule is over, and which step is the last.

    Before each step, the time for the end of the run (evaluation, checkpoint, models, pictures) is taken off the time
    that is left. What remains is for steps, and the schedule advances by the share of it that the last step took. So
    `share` grows from 0 to 1, and the last step has 1. On a machine of constant speed that is the schedule of a fixed
    number of steps. What the end takes is measured in the run and scaled with the duration of the steps: if the machine
    becomes slower, more time is kept for the end.

    The main process's clock decides for all processes: they exchange it before each step, from host to host, so no
    device waits.

    Args:
        accelerator: that trains.
        minutes: of the whole run, the process's start and the parts before it was resumed included.
        timeout: how long processes wait for each other.
        clock: seconds that count as the run's; by default, those since this call.

    Raises:
        UserError: if `minutes` isn't positive.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        minutes: float,
        timeout: timedelta | None = None,
        clock: Callable[[], float] | None = None,
    ):
        if not 0 < minutes < math.inf:
            raise UserError(f"--minutes must be positive, got {minutes}: give the time of the whole run")
        self.minutes, self.seconds = minutes, 60 * minutes
        self.share, self.last = 0.0, False
        """How much of the schedule is over at the step at hand, 0 to 1, and whether it is the last step."""
        self._evaluation_fits = True
        self._before, self._clock = 0.0, clock or stopwatch()
        self._begun, self._taken = 0.0, 0.0
        self._durations: deque[float] = deque(maxlen=_MANY)
        self._costs: dict[str, _Cost] = {}
        self._at_the_end: dict[str, float] = {}
        self._per_step: dict[str, float] = {}
        self._main = accelerator.is_main_process
        self._group: Any = None
        if accelerator.num_processes > 1:
            self._group = torch.distributed.new_group(backend="gloo", timeout=timeout)

    @property
    def used(self) -> float:
        """Seconds of the run so far, by this process's clock."""
        return self._before + self._clock()

    @property
    def left(self) -> float:
        """Seconds until the run should be over, by this process's clock."""
        return self.seconds - self.used

    def go_on(self, used: float, share: float, ended: float = 0.0) -> None:
        """Count what a resumed run had used and reached.

        Args:
            used: seconds until its last checkpoint.
            share: of the schedule; 1 if the run was complete.
            ended: seconds until it ended, if it was complete.

        Raises:
            UserError: if no time is left.
        """
        if share < 1 and used >= self.seconds:
            raise no_time_left(used, self.minutes)
        self._before, self.share, self.last = max(used, ended), share, share >= 1
        if self.last:
            logger.info(
                "the schedule of this run is complete: no step is left; to go on with it, give --extend and more "
                "--minutes"
            )

    def steps(self, start: int) -> Iterator[int]:
        """The numbers of the steps from `start` on; `share` and `last` are those of the step at hand."""
        for step in itertools.count(start):
            if self.last:
                return
            self._plan()
            self._begun = self._clock()
            yield step

    def step_done(self) -> bool:
        """Measure the step at hand; whether what the end takes must be measured now, in all processes alike."""
        self._taken = self._clock() - self._begun
        self._durations.append(self._taken)
        if self._at_the_end:
            return False
        (left,) = self._agree(self.left)
        return len(self._durations) == _FEW or left < self.seconds / 2  # the first step takes longer than others

    @contextmanager
    def measuring(self, what: str, amount: int = 1) -> Iterator[None]:
        """A block that does something `amount` times, which takes time from the steps."""
        start = self._clock()
        yield
        self._costs[what] = _Cost((self._clock() - start) / max(1, amount), self._step(_FEW))

    def expect(self, at_the_end: dict[str, float], per_step: dict[str, float]) -> None:
        """How often what is measured will be done: at the end of the run, and on average between two steps."""
        self._at_the_end, self._per_step = at_the_end, per_step

    def check_end_fits(self, remedy: str) -> None:
        """Say what the end of the run takes, as far as it is measured.

        Args:
            remedy: what takes less time.

        Raises:
            UserError: in all processes, if a new run's end takes longer than the run may.
        """
        end, left = self._agree(self._seconds(self._at_the_end), self.left)
        enough = math.ceil((self.seconds - left + 2 * end) / 60)
        remedy = f"give --minutes {enough} or more, or {remedy}"
        if end > self.seconds and not self._before:
            raise UserError(
                f"--minutes {self.minutes:g} is too short: the evaluation at the end takes about {end:.0f} s: {remedy}"
            )
        if self._main:
            logger.info("the evaluation at the end takes about %.0f s of the %.0f s that are left", end, left)
        if self._main and end > left / 2:
            logger.warning("so little time is left for training, if any: %s", remedy)

    def has_time_to_evaluate(self) -> bool:
        """Whether to evaluate after the step at hand: after the last one always, before it if enough time remains."""
        if not (self.last or self._evaluation_fits) and self._main:
            logger.info("not evaluated here: the time that is left is for the evaluation at the end")
        return self.last or self._evaluation_fits

    def position(self, schedule: ScheduleRecipe) -> float:
        """Where the step at hand stands in a schedule of `max_steps`, as a step's number (not a whole one)."""
        return self.share * max(1, schedule.max_steps - 1)

    def _step(self, steps: int = _MANY) -> float:
        """Seconds of a step, from the last few."""
        return statistics.median([*self._durations][-steps:]) if self._durations else 0.0

    def _seconds(self, counts: dict[str, float]) -> float:
        """What things take at the present speed; 0 for those that aren't measured."""
        found = [(count, self._costs[what]) for what, count in counts.items() if what in self._costs]
        return sum(count * cost.seconds * (self._step() / cost.step if cost.step else 1.0) for count, cost in found)

    def _plan(self) -> None:
        """Decide about the step to come."""
        end = self._seconds(self._at_the_end)
        rest = self.left - end
        last = bool(self._at_the_end) and rest < 2 * min(self._step(), self._taken)  # slow first steps end no run
        part = (self._taken + self._seconds(self._per_step)) / max(rest, 1e-9) if self._taken else 0.0
        share = 1.0 if last else self.share + (1 - self.share) * min(1.0, part)
        fits = rest > end + 3 * self._step()
        self.share, *flags = self._agree(share, last, fits)
        self.last, self._evaluation_fits = map(bool, flags)

    def _agree(self, *values: float) -> list[float]:
        """The main process's values, in all processes."""
        if self._group is None:
            return list(values)
        numbers = torch.tensor(values, dtype=torch.float64)
        torch.distributed.broadcast(numbers, src=0, group=self._group)
        return numbers.tolist()


def no_time_left(used: float, minutes: float) -> UserError:
    """The error for a run that has used so many seconds, and may take so many minutes in all."""
    return UserError(
        f"the run has used {used / 60:.1f} minutes, and --minutes {minutes:g} is the time of the whole run: give more"
    )


def measured(budget: TimeBudget | None, what: str, amount: int = 1) -> AbstractContextManager:
    """[`TimeBudget.measuring`], if there is a budget."""
    return nullcontext() if budget is None else budget.measuring(what, amount)


def recipe_as_run(recipe: Recipe, steps: int) -> Recipe:
    """The recipe of a fixed number of steps that comes to what a run of so many minutes did: the warm-up is scaled."""
    schedule = recipe.schedule
    warmup = round(schedule.warmup_steps * steps / schedule.max_steps)
    return replace(recipe, schedule=replace(schedule, max_steps=steps, warmup_steps=warmup))
