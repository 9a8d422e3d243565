"""Sides that are measured in turn (A B A B ...), so that every ratio compares neighbours in time.

A side in a process of its own prints a line of JSON when it is ready; for each line that it then reads it does its work
and prints the result as JSON. Other lines, which libraries print, don't count.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from modeling_ocrnet.data.decoding import DataError
from modeling_ocrnet.tables import text_table


@contextmanager
def process(
    command: list[str], needs: str, environment: dict[str, str] | None = None
) -> Iterator[tuple[dict, Callable[[str], dict]]]:
    """Start a side.

    Args:
        command: interpreter, script and arguments.
        needs: what the interpreter must have, for the error.
        environment: variables to set. Those that steer a Python aren't passed on: only the interpreter's own packages
            may be imported there.

    Yields:
        What it said when it was ready, and a function that sends it a line and returns its answer, a `DataError` where
        it ends instead.
    """
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=inherited | (environment or {})
    ) as child:

        def answer() -> dict:
            while line := child.stdout.readline():
                if line.startswith("{"):
                    return json.loads(line)
            raise DataError(f"{' '.join(command)} ended with code {child.wait()}: is {needs} installed there?")

        def ask(line: str) -> dict:
            child.stdin.write(f"{line}\n")
            child.stdin.flush()
            return answer()

        try:
            yield answer(), ask
        finally:
            child.stdin.close()


def summarize(times: dict[str, list[float]], base: str) -> dict:
    """Each side's median, and how many times as fast as the base it is: the median of paired ratios, with quartiles.

    Args:
        times: seconds of each side, a number a round.
        base: the side that the others are compared with.
    """
    sides = {}
    for side, seconds in times.items():
        # neighbours in time, before and after: what slows the machine down slows both
        ratios = [b / a for a, b in zip(seconds, times[base], strict=True)]
        sides[side] = {
            "milliseconds": 1000 * statistics.median(seconds),
            "times_as_fast": statistics.median(ratios),
            "quartiles": np.percentile(ratios, [25, 75]).tolist(),
        }
    return {"against": base, "sides": sides}


def table(summary: dict, unit: str) -> str:
    """A summary for people; `unit`: what the milliseconds are for."""
    rows = [["", f"ms {unit}", f"times as fast as {summary['against']}"]]
    for side, x in summary["sides"].items():
        low, high = x["quartiles"]
        rows.append([side, f"{x['milliseconds']:.1f}", f"{x['times_as_fast']:.2f} ({low:.2f} to {high:.2f})"])
    return text_table(rows)
