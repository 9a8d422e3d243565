"""Fields of augmentations that know which values they take."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import MISSING, field
from typing import Any

from ..unicode_names import nfc


def _field(default: Any, expected: str, accepts: Callable[[Any], bool]) -> Any:
    """A dataclass's field with what it takes, in words and as a function."""
    return field(default=default, metadata={"expected": expected, "accepts": accepts})


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def number(default: float, low: float, high: float, unit: str) -> Any:
    """A field for a number from `low` to `high`; `unit` says what it counts."""
    return _field(
        default,
        f"a number from {low:g} to {high:g} ({unit})",
        lambda value: _is_number(value) and low <= value <= high,
    )


def whole(default: int, low: int, high: int, unit: str) -> Any:
    """A field for a whole number from `low` to `high`; `unit` says what it counts."""
    return _field(
        default,
        f"a whole number from {low} to {high} ({unit})",
        lambda value: isinstance(value, int) and _is_number(value) and low <= value <= high,
    )


def choice(default: str, *others: str) -> Any:
    """A field for one of several words."""
    words = (default, *others)
    return _field(default, " or ".join(words), lambda value: value in words)


def names(unit: str) -> Any:
    """A field without a default for a list of different names."""

    def accepts(value: Any) -> bool:
        listed = isinstance(value, (list, tuple)) and bool(value)
        return listed and all(isinstance(x, str) and x for x in value) and len(set(map(nfc, value))) == len(value)

    return _field(MISSING, f"a list of {unit}, each once", accepts)
