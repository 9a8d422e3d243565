"""What starting weights bring: short CamVid runs from scratch, from street scenes, and from a model of other classes.

Each run is a process of `scripts/train.py`, and leaves a line in `rows.jsonl`; lines that are there aren't made again.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from modeling_ocrnet import data
from modeling_ocrnet.common.errors import UserError
from modeling_ocrnet.common.tables import text_table

STREET_STEPS = 400
SCRIPT = Path(__file__).parents[1] / "scripts" / "train.py"
STREET, SCRATCH, FROM_STREET, MERGED, FROM_MERGED, LONGER = (
    "street scenes",
    "from scratch",
    "from street scenes",
    "five classes",
    "from five classes",
    "from scratch, as many steps in all",
)
# CamVid's classes by the street scenes' names of them
NAMES = {"pavement": "sidewalk", "tree": "vegetation", "sign": "traffic sign", "pedestrian": "person"}
NAMES["bicyclist"] = "rider"
FIVE = {
    "above": ["sky"],
    "built": ["building", "pole", "sign", "fence"],
    "ground": ["road", "pavement"],
    "plants": ["tree"],
    "moving": ["car", "pedestrian", "bicyclist"],
}
HEAD = {"ocr_channels": 128, "key_channels": 64, "auxiliary_channels": 128}  # the CamVid recipe's


@dataclass(frozen=True)
class Run:
    """One run: its row's name, its seed, and its options."""

    name: str
    seed: int
    options: list[str]

    @property
    def folder(self) -> str:
        return f"{self.name.replace(' ', '_').replace(',', '')}-{self.seed}"


def starting_weights_benchmark(
    root: str, output: str = "runs/starting_weights", steps: int = 150, seeds: int = 3, minutes: float = 60.0
) -> None:
    """Train short CamVid runs from scratch and from two trained models, several seeds each; go on where it stopped.

    Args:
        root: CamVid's folder.
        output: The folder of runs and rows.
        steps: Steps of a run.
        seeds: Number of seeds.
        minutes: No run is started after so much time.
    """
    folder, start = Path(output).resolve(), time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    rows_file, left = folder / "rows.jsonl", []
    for run in _runs(Path(root).resolve(), folder, steps, range(seeds)):
        rows = read_rows(rows_file)
        if any((row["name"], row["seed"], row["steps"]) == (run.name, run.seed, steps) for row in rows):
            continue
        if time.monotonic() - start > 60 * minutes:
            left.append(f"{run.name} (seed {run.seed})")
            continue
        began = time.monotonic()
        command = [sys.executable, str(SCRIPT), *run.options, "--seed", str(run.seed), "--logging.pictures", "0"]
        ended = subprocess.run([*command, "--output", str(folder / run.folder), "--resume", "auto"], check=False)
        if ended.returncode:
            raise UserError(f"{run.folder} ended with code {ended.returncode}: the same command goes on from there")
        row = {"name": run.name, "seed": run.seed, "steps": steps, "minutes": (time.monotonic() - began) / 60}
        with rows_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row | _scores(folder / run.folder)) + "\n")
    print(table(read_rows(rows_file), steps))
    if left:
        print(f"not made, for lack of time: {', '.join(left)}")


def _runs(camvid: Path, folder: Path, steps: int, seeds: range) -> Iterator[Run]:
    """All runs, those first from which others start."""
    head = [x for name, width in HEAD.items() for x in (f"--model.config.{name}", str(width))]
    length = ["--schedule.max_steps", str(STREET_STEPS), "--evaluation.every", str(STREET_STEPS)]
    street = Run(STREET, 0, ["--config", "street_scenes/ocrnet_hr18s", *head, *length])
    yield street

    def on_camvid(name: str, seed: int, *more: str, length: int = steps) -> Run:
        recipe = ["--config", "camvid/ocrnet_hr18s_scratch", "--data.root", str(camvid)]
        lengths = ["--schedule.max_steps", str(length), "--evaluation.every", str(length)]
        return Run(name, seed, [*recipe, *lengths, *more])

    def begun(run: Run, table: dict[str, str]) -> tuple[str, ...]:
        return ("--model.init_from", str(folder / run.folder / "model"), "--model.init_classes", json.dumps(table))

    for seed in seeds:
        yield on_camvid(SCRATCH, seed)
        yield on_camvid(FROM_STREET, seed, *begun(street, NAMES))
    own = ("--data.name", "folder", "--data.root", str(folder / "merged"), "--model.config.class_weights", "null")
    write_merged(camvid, folder / "merged")
    back = {name: group for group, names in FIVE.items() for name in names}
    for seed in seeds:
        yield (merged := on_camvid(MERGED, seed, *own))
        yield on_camvid(FROM_MERGED, seed, *begun(merged, back))
        yield on_camvid(LONGER, seed, length=2 * steps)


def write_merged(camvid: Path, folder: Path) -> None:
    """CamVid with five classes, as a dataset of one's own: its frames stay where they are."""
    if (folder / "classes.json").exists():
        return
    names = data.label_set("camvid").names
    merged = np.full(256, data.IGNORE, np.uint8)
    for index, group in enumerate(FIVE.values()):
        merged[[names.index(x) for x in group]] = index
    for split in ("train", "val"):
        (folder / split).mkdir(parents=True, exist_ok=True)
        lines = ["image,mask"]
        for mask in sorted((camvid / f"{split}annot").glob("*.png")):
            Image.fromarray(merged[np.asarray(Image.open(mask))]).save(folder / split / mask.name)
            lines.append(f"{camvid / split / mask.name},{split}/{mask.name}")
        (folder / f"{split}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    classes = {"classes": list(FIVE), "ignore_ids": [data.IGNORE]}
    (folder / "classes.json").write_text(json.dumps(classes), encoding="utf-8")


def read_rows(file: Path) -> list[dict]:
    """The rows so far."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


def _scores(run: Path) -> dict[str, float]:
    """mIoU of the weights and of their average."""
    folders = {"mean_iou": run / "model", "ema_mean_iou": run / "model_ema"}
    read = {name: json.loads((x / "metrics.json").read_text()) for name, x in folders.items() if x.exists()}
    return {name: metrics["mean_iou"] for name, metrics in read.items()}


def table(rows: list[dict], steps: int) -> str:
    """The scores of all seeds, a line for each kind of run."""
    kinds = dict.fromkeys(row["name"] for row in rows if row["steps"] == steps)
    lines = [("run", "seeds", "mIoU", "median", "of the average", "median")]
    for kind in kinds:
        found = sorted((row for row in rows if (row["name"], row["steps"]) == (kind, steps)), key=lambda x: x["seed"])
        cells = [kind, str(len(found))]
        for name in ("mean_iou", "ema_mean_iou"):
            values = [row[name] for row in found if name in row]
            cells.append(" ".join(f"{x:.3f}" for x in values))
            cells.append(f"{statistics.median(values):.3f}" if values else "")
        lines.append(tuple(cells))
    return text_table(lines, numbers=False)
