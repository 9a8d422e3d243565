"""The learning rate, a pure function of the update: nothing to save, nothing to get out of step."""

from __future__ import annotations

from .recipe import ScheduleRecipe


def learning_rate(step: int, base: float, schedule: ScheduleRecipe) -> float:
    """Polynomial decay from `base` to the floor, after a linear warm-up if there is one.

    Args:
        step: the update, counted from 0; the last one, `max_steps - 1`, has the floor.
        base: the learning rate at step 0 (without warm-up).
        schedule: length, power, floor and warm-up.

    Agrees with mmengine's PolyLR; the warm-up is torch's LinearLR on top.
    """
    progress = min(1.0, step / max(1, schedule.max_steps - 1))
    rate = (base - schedule.min_lr) * (1 - progress) ** schedule.power + schedule.min_lr
    if step < schedule.warmup_steps:
        rate *= schedule.warmup_ratio + (1 - schedule.warmup_ratio) * step / schedule.warmup_steps
    return rate
