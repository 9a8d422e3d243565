"""What starting weights bring: short CamVid runs from scratch, from street scenes, and from other classes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from modeling_ocrnet import data

from .short_runs import Run, score_table, train_all

STREET_STEPS = 400
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
    folder = Path(output).resolve()
    rows = train_all(_runs(Path(root).resolve(), folder, steps, range(seeds)), folder, minutes)
    print(score_table([row for row in rows if row["of"] in ("", f"{steps} steps")]))


def _runs(camvid: Path, folder: Path, steps: int, seeds: range) -> Iterator[Run]:
    """All runs, those first from which others start."""
    head = [x for name, width in HEAD.items() for x in (f"--model.config.{name}", str(width))]
    length = ["--schedule.max_steps", str(STREET_STEPS), "--evaluation.every", str(STREET_STEPS)]
    street = Run(STREET, 0, ["--config", "street_scenes/ocrnet_hr18s", *head, *length])
    yield street

    def on_camvid(name: str, seed: int, *more: str, length: int = steps) -> Run:
        recipe = ["--config", "camvid/ocrnet_hr18s_scratch", "--data.root", str(camvid)]
        lengths = ["--schedule.max_steps", str(length), "--evaluation.every", str(length)]
        return Run(name, seed, [*recipe, *lengths, *more], of=f"{steps} steps")

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
