"""What numbers of a recipe can be meant: none is negative, none infinite, and some have bounds of their own."""

from __future__ import annotations

import math
from typing import Any

_POSITIVE = {
    "global_batch",
    "micro_batch",
    "process_timeout",
    "data.crop_size",
    "data.scale",
    "data.ratio_range",
    "data.cat_max_ratio",
    "data.shuffle_buffer",
    "optimizer.lr",
    "optimizer.head_lr_multiplier",
    "optimizer.clip_norm",
    "schedule.max_steps",
    "evaluation.every",
    "evaluation.limit",
    "checkpoint.every",
    "checkpoint.keep_last",
    "logging.every",
}
_MOST = {
    "data.cat_max_ratio": 1,
    "data.flip_probability": 1,
    "schedule.warmup_ratio": 1,
    "process_timeout": 10**8,  # about three years: a limit of what timers take
    "seed": 2**32 - 1,  # numpy's
}


_BELOW = {"optimizer.momentum": 1}  # at 1 what was learnt once would never be forgotten


def check_numbers(values: dict[str, Any]) -> None:
    """Refuse numbers that can't be meant.

    Args:
        values: of a recipe's fields, by their full names; lists are checked number by number.

    Raises:
        ValueError: naming the field.
    """
    for name, value in values.items():
        for x in value if isinstance(value, list) else [value]:
            expected = _expected(name, x) if isinstance(x, (int, float)) else None
            if expected:
                raise ValueError(f"{name} must be {expected}, got {value}")


def _expected(name: str, x: float) -> str | None:
    """What a field's number should be; `None` where it is."""
    if not math.isfinite(x):
        return "a finite number"
    if name.startswith(("model.config.", "model.backbone_config.")):  # the configs know what theirs may be
        return None
    if name in _POSITIVE and x <= 0:
        return "positive"
    if x < 0:
        return "0 or more"
    if x > _MOST.get(name, x):
        return f"at most {_MOST[name]}"
    return f"below {_BELOW[name]}" if x >= _BELOW.get(name, math.inf) else None
