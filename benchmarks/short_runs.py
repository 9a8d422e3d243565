"""Short training runs that are compared: each is a process of `scripts/train.py`, and leaves a line in `rows.jsonl`.

Lines that are there aren't made again, so the same command goes on where it was stopped.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from modeling_ocrnet.common.errors import UserError
from modeling_ocrnet.common.tables import text_table

SCRIPT = Path(__file__).parents[1] / "scripts" / "train.py"
ROWS = "rows.jsonl"


@dataclass(frozen=True)
class Run:
    """One run: its row's name, its seed, and its options. `of` tells rows of one name apart: the data, the length."""

    name: str
    seed: int
    options: Sequence[str]
    of: str = ""

    @property
    def folder(self) -> str:
        words = f"{self.of} {self.name}".replace(",", "").replace("/", " ").split()
        return f"{'_'.join(words)}-{self.seed}"


def train_all(runs: Iterable[Run], folder: Path, minutes: float) -> list[dict]:
    """Train those runs that have no row yet, and say which were left.

    Args:
        runs: those first from which others start.
        folder: of runs and rows.
        minutes: no run is started after so much time.

    Returns:
        All rows: `name`, `seed`, `of`, `minutes`, and what [`scores`] reads.
    """
    start, left = time.monotonic(), []
    folder.mkdir(parents=True, exist_ok=True)
    for run in runs:
        key = (run.name, run.seed, run.of)
        if any((row["name"], row["seed"], row["of"]) == key for row in read_rows(folder)):
            continue
        if time.monotonic() - start > 60 * minutes:
            left.append(f"{run.name} (seed {run.seed})")
            continue
        began = time.monotonic()
        command = [sys.executable, str(SCRIPT), *run.options, "--seed", str(run.seed), "--logging.pictures", "0"]
        ended = subprocess.run([*command, "--output", str(folder / run.folder), "--resume", "auto"], check=False)
        if ended.returncode:
            raise UserError(f"{run.folder} ended with code {ended.returncode}: the same command goes on from there")
        row = {"name": run.name, "seed": run.seed, "of": run.of, "minutes": (time.monotonic() - began) / 60}
        with (folder / ROWS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row | scores(folder / run.folder)) + "\n")
    if left:
        print(f"not made, for lack of time: {', '.join(left)}")
    return read_rows(folder)


def read_rows(folder: Path) -> list[dict]:
    """The rows so far."""
    file = folder / ROWS
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


def scores(run: Path) -> dict:
    """mIoU and each class's IoU of a run's weights, and `ema_mean_iou`, `ema_iou` of their average."""
    found = {}
    for prefix, folder in (("", run / "model"), ("ema_", run / "model_ema")):
        if (file := folder / "metrics.json").exists():
            metrics = json.loads(file.read_text(encoding="utf-8"))
            found |= {prefix + key: metrics[key] for key in ("mean_iou", "iou")}
    return found


def of_name(rows: list[dict], name: str) -> list[dict]:
    """The rows of one name, by seed."""
    return sorted((row for row in rows if row["name"] == name), key=lambda row: row["seed"])


def score_table(rows: list[dict]) -> str:
    """The scores of all seeds, a line for each name."""
    lines = [("run", "seeds", "mIoU", "median", "of the average", "median")]
    for name in dict.fromkeys(row["name"] for row in rows):
        found = of_name(rows, name)
        cells = [name, str(len(found))]
        for key in ("mean_iou", "ema_mean_iou"):
            values = [row[key] for row in found if key in row]
            cells.append(" ".join(f"{x:.3f}" for x in values))
            cells.append(f"{statistics.median(values):.3f}" if values else "")
        lines.append(tuple(cells))
    return text_table(lines, numbers=False)


def class_table(rows: list[dict], key: str = "iou") -> str:
    """The median of each class's IoU over the seeds, a column for each name."""
    names = list(dict.fromkeys(row["name"] for row in rows))
    lines = [("class", *names)]
    for of_class in rows[0][key] if rows else ():
        cells = [of_class]
        for name in names:
            values = [row[key][of_class] for row in of_name(rows, name)]
            cells.append("-" if None in values else f"{statistics.median(values):.3f}")
        lines.append(tuple(cells))
    return text_table(lines)
