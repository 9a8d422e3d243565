"""What a run leaves to look at: the curve, predictions, and a table of classes."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path

import numpy as np

from ..inference.pictures import colorize, overlay, side_by_side
from ..inference.segmentation import segment
from .build import Experiment

logger = logging.getLogger("modeling_ocrnet.training")


def draw_report(experiment: Experiment, records: list[dict], output_dir: Path) -> None:
    """Write `curve.png` and `pictures/*.png` (image, prediction, truth) from the main process."""
    if experiment.accelerator.is_main_process:
        draw_curve(records, output_dir / "curve.png")
        draw_pictures(experiment, output_dir / "pictures")


def draw_curve(records: list[dict], path: Path) -> None:
    """Loss and mIoU over updates, if matplotlib is installed (the extra `plot`)."""
    if importlib.util.find_spec("matplotlib") is None:
        logger.info("no curve.png: matplotlib isn't installed (pip install modeling-ocrnet[plot])")
        return
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # the later record wins where a resumed run repeated updates
    losses = {r["step"]: r["loss"] for r in records if "loss" in r}
    scores = {r["step"]: r["mean_iou"] for r in records if "mean_iou" in r}
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xlabel="update", ylabel="loss")
    axes.plot(list(losses), list(losses.values()), color="tab:blue", label="loss")
    axes.set_ylim(bottom=0)
    right = axes.twinx()
    right.plot(list(scores), list(scores.values()), "o-", color="tab:orange", label="validation mIoU")
    if averaged := {r["step"]: r["ema_mean_iou"] for r in records if "ema_mean_iou" in r}:
        right.plot(list(averaged), list(averaged.values()), "o--", color="tab:green", label="of the averaged weights")
    right.set(ylabel="mIoU", ylim=(0, 1))
    figure.legend(loc="outside upper center", ncols=2)
    figure.savefig(path, dpi=120)


def draw_pictures(experiment: Experiment, folder: Path) -> None:
    """Predictions for validation images, spread evenly over the split."""
    folder.mkdir(exist_ok=True)
    rows, palette = experiment.val_data, experiment.labels.palette
    count = min(experiment.recipe.logging.pictures, len(rows))
    experiment.bare_model.eval()
    drawn = set()
    for index in np.linspace(0, len(rows) - 1, count).astype(int):
        row = rows[int(index)]
        image = np.asarray(row["image"])
        (predicted,) = segment(experiment.bare_model, experiment.processor, [row["image"]])
        panels = [image, overlay(image, predicted, palette)]
        if row["label"] is not None:
            panels.append(colorize(np.asarray(row["label"]), palette))
        name = f"{row['name']}_{index}" if row["name"] in drawn else row["name"]  # a list may name an image twice
        drawn.add(name)
        side_by_side(*panels).save(folder / f"{name}.png")
