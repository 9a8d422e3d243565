"""Paired timing: contenders take turns (A B A B ...), so every ratio compares measurements that are close in time."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable

import numpy as np

from modeling_ocrnet.common.tables import text_table


def run_rounds(
    contenders: dict[str, Callable[[], dict]],
    rounds: int,
    warm_up: int = 0,
    enough: Callable[[], bool] = lambda: False,
    say: Callable[[str], None] | None = None,
) -> list[dict]:
    """Call each contender once in each round.

    Args:
        contenders: by name; each call does the work once, and returns its measurements.
        rounds: number of rounds that are recorded.
        warm_up: number of rounds before them, which aren't recorded.
        enough: called before each round except the first; returns whether to stop.
        say: receives each record as a line of JSON; `print` by default.

    Returns:
        A record for each round and contender: `round`, `contender`, and what the call returned.
    """
    say = say or (lambda line: print(line, flush=True))
    records = []
    for number in range(-warm_up, rounds):
        if number > 0 and enough():
            break
        for name, measure in contenders.items():
            record = {"round": number, "contender": name, **measure()}
            if number >= 0:
                records.append(record)
                say(json.dumps(record))
    return records


def by_contender(records: list[dict], key: str) -> dict[str, list]:
    """One figure of all records: a list for each contender, in the order of the rounds."""
    found = {}
    for record in records:
        found.setdefault(record["contender"], []).append(record[key])
    return found


def summarize(times: dict[str, list[float]], baseline: str) -> dict:
    """Each contender's median time, and its speed relative to the baseline: the median of paired ratios, with
    quartiles.

    Args:
        times: the seconds of each contender, one number for each round.
        baseline: the contender that the others are compared with.
    """
    contenders = {}
    for name, seconds in times.items():
        # both were measured close in time, so other load on the machine slowed both
        ratios = [b / a for a, b in zip(seconds, times[baseline], strict=True)]
        contenders[name] = {
            "milliseconds": 1000 * statistics.median(seconds),
            "times_as_fast": statistics.median(ratios),
            "quartiles": np.percentile(ratios, [25, 75]).tolist(),
        }
    return {"baseline": baseline, "contenders": contenders}


def table(summary: dict, unit: str) -> str:
    """A summary as a text table; `unit` says what the milliseconds are per, e.g. "per step"."""
    rows = [["", f"ms {unit}", f"times as fast as {summary['baseline']}"]]
    for name, x in summary["contenders"].items():
        low, high = x["quartiles"]
        rows.append([name, f"{x['milliseconds']:.1f}", f"{x['times_as_fast']:.2f} ({low:.2f} to {high:.2f})"])
    return text_table(rows)
