"""What `ocrnet configure` brings: its recipe beside the default one for own data, on three sets, in the same time."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from modeling_ocrnet import data
from modeling_ocrnet.common.errors import UserError
from modeling_ocrnet.common.tables import text_table
from street_scenes import write_street_scenes

from .short_runs import Run, class_table, of_name, score_table, train_all

DEFAULT, CONFIGURED = "own/laptop", "ocrnet configure"  # laptop: the recipe for own data on a CPU
SCRIPT = Path(__file__).parents[1] / "scripts" / "configure.py"
CAMVID, RARE, FEW = "CamVid", "two classes, 100 to 1", "30 small images"
MINUTES = {RARE: 3, FEW: 2, CAMVID: 3}  # of a run
RAREST = {RARE: "person", FEW: "people", CAMVID: "bicyclist"}
# groups of the street scenes' classes; what is in none is the first group
PEOPLE = {"background": [], "person": ["person"]}
SEVEN = {
    "ground": ["road", "sidewalk", "terrain"],
    "built": ["building", "wall", "fence"],
    "plants": ["vegetation"],
    "sky": ["sky"],
    "vehicles": ["car", "truck", "bus", "train", "motorcycle", "bicycle"],
    "people": ["person", "rider"],
    "posts": ["pole", "traffic light", "traffic sign"],
}


def configured_benchmark(
    root: str | None = None, output: str = "runs/configured", seeds: int = 3, minutes: float = 90.0
) -> None:
    """Train by the recipe for a CPU and by that of `ocrnet configure`, from scratch; go on where it stopped.

    Args:
        root: CamVid's folder; without it, the other two sets are used.
        output: The folder of sets, recipes, runs and rows.
        seeds: Number of seeds.
        minutes: No run is started after so much time.
    """
    folder = Path(output).resolve()
    sets = {}
    for name, groups, size, number in ((RARE, PEOPLE, (256, 512), 120), (FEW, SEVEN, (96, 128), 30)):
        own = folder / name.replace(",", "").replace(" ", "_")
        write_grouped_scenes(own, groups, size, number)
        sets[name] = ["--data.name", "folder", "--data.root", str(own)]
    if root is not None:
        sets[CAMVID] = ["--data.name", "camvid", "--data.root", str(Path(root).resolve())]
    rows = train_all(_runs(sets, folder, range(seeds)), folder, minutes)
    for name in sets:
        found = [row for row in rows if row["of"] == name]
        print(f"\n{name}\n{score_table(found)}\n{class_table(found)}")
    print("\n" + verdict(rows))


def _runs(sets: dict[str, list[str]], folder: Path, seeds: range) -> Iterator[Run]:
    for of, options in sets.items():
        length = ["--minutes", str(MINUTES[of])]
        recipe = folder / f"{of.replace(',', '').replace(' ', '_')}.yaml"
        if not recipe.exists():
            command = [sys.executable, str(SCRIPT), *options, *length, "--output", str(recipe)]
            if subprocess.run(command, check=False).returncode:
                raise UserError(f"{' '.join(command)} failed")
        for seed in seeds:
            default = ["--config", DEFAULT, *options, "--model.backbone", "null"]
            yield Run(DEFAULT, seed, [*default, *length], of)
            yield Run(CONFIGURED, seed, ["--config", str(recipe), *length], of)


def write_grouped_scenes(folder: Path, groups: dict[str, list[str]], size: tuple[int, int], number: int) -> None:
    """Street scenes with a few classes, as a dataset of one's own: `number` images to train on, and a third to score.

    Args:
        folder: for `images/`, `masks/` and `classes.json`.
        groups: the new classes, each with the names of its old ones.
        size: height and width.
        number: of training images.
    """
    if (folder / "classes.json").exists():
        return
    scenes = folder.with_name(f"{folder.name}_scenes")
    write_street_scenes(scenes, train=number, val=number // 3, size=size)
    names = data.label_set("street_scenes").names
    merged = np.zeros(256, np.uint8)
    merged[data.IGNORE] = data.IGNORE
    for index, group in enumerate(groups.values()):
        merged[[names.index(x) for x in group]] = index
    for split in ("train", "val"):
        for kind in ("images", "masks"):
            (folder / kind / split).mkdir(parents=True, exist_ok=True)
        for number, row in enumerate(data.load("street_scenes", scenes, split)):
            Image.fromarray(np.asarray(row["image"])).save(folder / "images" / split / f"{number:03}.png")
            Image.fromarray(merged[np.asarray(row["label"])]).save(folder / "masks" / split / f"{number:03}.png")
    classes = {"classes": list(groups), "ignore_ids": [data.IGNORE]}
    (folder / "classes.json").write_text(json.dumps(classes), encoding="utf-8")


def verdict(rows: list[dict]) -> str:
    """A line for each set: the configured recipe's median beside the default's lowest seed, and the rarest class's."""
    lines = [("set", "default: lowest, median", "configured: median", "rarest class", "default", "configured")]
    for of in dict.fromkeys(row["of"] for row in rows):
        default, configured = (of_name([x for x in rows if x["of"] == of], name) for name in (DEFAULT, CONFIGURED))
        if not (default and configured):
            continue
        scores = [[row["mean_iou"] for row in found] for found in (default, configured)]
        of_class = [statistics.median(row["iou"][RAREST[of]] or 0.0 for row in x) for x in (default, configured)]
        low, middle, ours, *rare = (f"{x:.3f}" for x in (min(scores[0]), *map(statistics.median, scores), *of_class))
        lines.append((of, f"{low}, {middle}", ours, RAREST[of], *rare))
    return text_table(lines, numbers=False)
