"""What a run was asked to take, and what it has taken: time and steps."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from ..common.atomic_files import atomic_write


def seconds_since_the_start() -> float:
    """Seconds since this process began, its imports included."""
    return time.time() - psutil.Process().create_time()


def process_clock() -> Callable[[], float]:
    """A clock of the seconds since this process began."""
    begun = time.monotonic() - seconds_since_the_start()
    return lambda: time.monotonic() - begun


def stopwatch() -> Callable[[], float]:
    """A clock of the seconds since this call."""
    begun = time.monotonic()
    return lambda: time.monotonic() - begun


def nothing_taken() -> dict[str, Any]:
    """What a run has taken before it begins: `seconds`, and the `steps` that were done in them."""
    return {"seconds": 0.0, "steps": 0}


def check_taken(took: Any) -> None:
    """Check what a file says of the time that a run has taken.

    Raises:
        ValueError: if no run writes that.
    """
    sound = isinstance(took, dict) and type(took.get("steps")) is int and isinstance(took.get("seconds"), float)
    if not (sound and took["steps"] >= 0 and 0 <= took["seconds"] < math.inf):
        raise ValueError(f"took is {took!r}, expected seconds and steps")


@dataclass
class RunTime:
    """The time of a run, and the steps that were done in it, of all its parts together.

    The time between two parts doesn't count, nor does that of steps which no checkpoint has kept. Checkpoints of older
    versions don't say what a run had taken: then the steps are fewer than the run has.

    Args:
        clock: seconds of this part of the run.
    """

    clock: Callable[[], float] = field(default_factory=stopwatch)
    _before: dict[str, Any] = field(default_factory=nothing_taken, init=False)
    _first: int = field(default=0, init=False)

    def go_on(self, took: dict[str, Any], step: int) -> None:
        """Count what a run had taken before it was resumed at `step`."""
        self._before, self._first = took, step

    def read(self, step: int) -> dict[str, Any]:
        """`seconds` and `steps` until `step`. A process that does no step, because the run was complete, adds none."""
        steps = step - self._first
        seconds = self.clock() if steps else 0.0
        return {"seconds": self._before["seconds"] + seconds, "steps": self._before["steps"] + steps}


def taken_at_the_end(folder: Path, step: int, took: dict[str, Any]) -> dict[str, Any]:
    """What a run had taken when it was done, if it was. That is more than its last checkpoint says, because models and
    pictures come after it; [`write_summary`] noted it.

    Args:
        folder: the model's.
        step: that the run has come to.
        took: what the checkpoint says; returned if the folder isn't of this step.
    """
    try:
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        found = {key: metrics["took"][key] for key in took}
        check_taken(found)
    except (OSError, ValueError, KeyError, TypeError):
        return took
    same = metrics.get("step") == step and found["steps"] == took["steps"]
    return found if same and found["seconds"] >= took["seconds"] else took


def summarize(asked: dict[str, float], took: dict[str, Any], images: int) -> dict[str, Any]:
    """What a model's `metrics.json` says of the run's length: what was `asked`, and what it `took`.

    Args:
        asked: `steps` or `minutes`.
        took: from [`RunTime.read`].
        images: of a step.
    """
    speed = took["steps"] * images / took["seconds"] if took["seconds"] else 0.0
    numbers = {"seconds": round(took["seconds"], 1), "steps": took["steps"], "images_per_second": round(speed, 3)}
    return {"asked": asked, "took": numbers}


def summary_line(summary: dict[str, Any], step: int) -> str:
    """What [`summarize`] returns, on one line, for a run that has come to `step`."""
    ((unit, amount),) = summary["asked"].items()
    asked = f"{amount:g} {unit if amount != 1 else unit.removesuffix('s')}"
    took = summary["took"]
    unknown = step - took["steps"]
    if not took["steps"]:
        return f"asked: {asked}; took: {step} steps, in a time that isn't known"
    line = (
        f"asked: {asked}; took: {took['seconds'] / 60:.1f} minutes, {took['steps']} steps "
        f"({took['images_per_second']:.1f} images/s, start and evaluations included)"
    )
    return line + (f"; the time of the {unknown} steps before isn't known" if unknown else "")


def write_summary(folder: Path, summary: dict[str, Any]) -> None:
    """Add what [`summarize`] returns to the `metrics.json` of a model's folder."""
    file = folder / "metrics.json"
    metrics = json.loads(file.read_text(encoding="utf-8"))
    with atomic_write(file) as temporary:
        temporary.write_text(json.dumps({**metrics, **summary}, indent=2) + "\n", encoding="utf-8")
