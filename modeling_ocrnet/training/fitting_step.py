"""Find a micro-batch that fits into the memory, and images small enough for the time, by measuring steps."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from ..common.errors import UserError
from . import recipe_rules as rules
from .choice import Choice
from .data_facts import DataFacts
from .dry_run import RunCost
from .machine_facts import MachineFacts
from .recipe import Recipe
from .step_cost import measure_step

logger = logging.getLogger("modeling_ocrnet.training")

# bytes of a step for each pixel of a micro-batch, in float32; only to choose what to measure first
_BYTES = {"hr18s": 4e3, "hr18": 7e3, "hr32": 11e3, "hr48": 16e3, "hr64": 22e3, "r101-d8": 20e3}
_BASE = 0.8  # gigabytes of a process that does nothing yet
_HALF, _CHECKPOINTED = 0.65, 0.5  # what bf16 and gradient checkpointing leave of them, about
_MEASUREMENTS = 4


@dataclass(frozen=True)
class Fitting:
    """Choices that fit into the memory, and what a step of them takes."""

    choices: dict[str, Choice]
    cost: RunCost


def candidates(batch: int) -> list[tuple[int, bool]]:
    """(micro-batch, gradient checkpointing) in the order in which they are tried: as many images as possible, because
    batch norm wants four; before there are fewer, activations are computed twice."""
    parts = [x for x in range(batch, 0, -1) if batch % x == 0]
    enough = [x for x in parts if x >= 4] or parts[:1]
    few = [x for x in parts if x not in enough]
    return [*((x, False) for x in enough), *((x, True) for x in enough), *((x, True) for x in few)]


def fit_memory(choices: dict[str, Choice], machine: MachineFacts, variant: str) -> Fitting:
    """Measure steps until one fits.

    Raises:
        UserError: if not even one image fits.
    """
    limit, batch = rules.memory_limit(machine), choices["global_batch"].value
    height, width = choices["data.crop_size"].value
    per_image = _BYTES.get(variant, 20e3) * height * width / 1e9
    per_image *= _HALF if choices["mixed_precision"].value == "bf16" else 1
    base, left = _BASE if machine.is_cpu else 0.0, _MEASUREMENTS
    taken, trials = 0.0, candidates(batch)
    for micro, twice in trials:
        expected = base + per_image * micro * (_CHECKPOINTED if twice else 1)
        if (micro, twice) != trials[-1] and (expected > limit or left == 1):
            continue
        found = {**choices, **_batches(micro, twice, machine)}
        cost, left = measure_step(recipe_of(found, measured=True)), left - 1
        if cost is not None and cost.peak_memory <= limit:
            return Fitting({**found, **_batches(micro, twice, machine, cost)}, cost)
        taken = 2 * expected if cost is None else cost.peak_memory
        per_image *= max(1.2, (taken - base) / max(expected - base, 1e-3))
    raise UserError(
        f"a step with one image takes {taken:.1f} GB, and {limit:.1f} of {machine.memory:.1f} GB are for it: "
        + ("give a larger --memory" if machine.given else "end other programs, or give --memory if more is free")
    )


def _batches(micro: int, twice: bool, machine: MachineFacts, cost: RunCost | None = None) -> dict[str, Choice]:
    took = "" if cost is None else f"{cost.peak_memory:.1f} GB at its peak, of {machine.memory:.1f} GB "
    took += "given" if machine.given else "free"
    found = {"micro_batch": Choice(micro, took)}
    if twice:
        why = "the micro-batch would not fit otherwise: activations are computed twice"
        found["model.gradient_checkpointing"] = Choice(True, why)
    if (momentum := rules.batch_norm_momentum(micro)) is not None:
        found["model.config.batch_norm_momentum"] = momentum
    return found


def fit(
    choices: dict[str, Choice],
    resized: Callable[[Choice], dict[str, Choice]],
    data: DataFacts,
    machine: MachineFacts,
    variant: str,
    minutes: float | None,
) -> Fitting:
    """Measure steps until one fits into the memory, and enough of them into the minutes.

    Args:
        choices: all that a step depends on, but the micro-batch.
        resized: the choices that depend on the images' short edge.
        data: to train on.
        machine: that trains.
        variant: the architecture.
        minutes: of the run.
    """
    fitting = fit_memory(choices, machine, variant)
    if minutes is None or (possible := rules.possible_steps(minutes, fitting.cost.step)) >= rules.ENOUGH:
        return fitting
    edge = min(choices["data.scale"].value)
    smaller = rules.size_in_time(possible, edge, minutes, data)
    if smaller.value >= edge:
        return fitting
    return fit_memory({**choices, **resized(smaller)}, machine, variant)


def recipe_of(choices: dict[str, Choice], measured: bool = False) -> Recipe:
    """The recipe of some choices.

    Args:
        choices: by the fields' names.
        measured: for a measurement: of a few steps, with first weights in place of the Hub's, in a folder that isn't
            there, and without a sampler that reads all masks first.
    """
    values: dict[str, Any] = {}
    for name, choice in choices.items():
        *groups, field = name.split(".")
        place = values
        for group in groups:
            place = place.setdefault(group, {})
        place[field] = choice.value
    if measured:
        values.pop("sampler", None)
        values.setdefault("model", {})["backbone"] = None
        values["output"] = str(Path(tempfile.gettempdir()) / "ocrnet-configure-no-run")
    return _filled(Recipe, values)


def _filled(kind: type, values: dict[str, Any]) -> Any:
    """A dataclass from plain values."""
    hints = get_type_hints(kind)
    given = {}
    for name, value in values.items():
        is_group = isinstance(value, dict) and hasattr(hints[name], "__dataclass_fields__")
        given[name] = _filled(hints[name], value) if is_group else tuple(value) if _is_tuple(hints[name]) else value
    return kind(**given)


def _is_tuple(hint: Any) -> bool:
    return getattr(hint, "__origin__", None) is tuple
