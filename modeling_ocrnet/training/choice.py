"""What a rule of `ocrnet configure` returns, and how its reason says numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Choice:
    """A value for a field of the recipe, and the reason for it in one line."""

    value: Any
    why: str


def percent(share: float) -> str:
    """A share with two digits: `0.85%`."""
    return f"{100 * share:.2g}%"


def duration(seconds: float) -> str:
    """`40 s`, `12 min`, `3.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def counted(number: int, what: str) -> str:
    """`1 image`, `2 images`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def two_digits(number: float) -> float:
    return float(f"{number:.2g}")
