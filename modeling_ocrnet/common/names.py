"""Names in messages: what an unknown one may have meant, and long lists cut short."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

SHOWN = 10  # names that a line lists


def first_names(names: Sequence[str]) -> str:
    """The first `SHOWN` names, and how many more there are."""
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """The end of a message on an unknown name: `did you mean pole?`, or `there are road, pole` if none is near."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"there are {first_names(known)}"
