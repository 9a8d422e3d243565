"""Draw a training run's curve and some of its predictions."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path

import numpy as np
from datasets import Dataset

from ..data import LabelSet
from ..inference.drawing import colorize, overlay, side_by_side
from ..inference.segmentation import segment

logger = logging.getLogger("modeling_ocrnet.training")


def draw_curve(records: list[dict], path: Path) -> None:
    """Draw loss and mIoU over steps, if matplotlib is installed (the extra `plot`)."""
    if importlib.util.find_spec("matplotlib") is None:
        logger.info("no curve.png: matplotlib isn't installed (pip install modeling-ocrnet[plot])")
        return
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # if a resumed run repeated steps, the later record is used
    losses = {r["step"]: r["loss"] for r in records if "loss" in r}
    scores = {r["step"]: r["mean_iou"] for r in records if "mean_iou" in r}
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xlabel="step", ylabel="loss")
    axes.plot(list(losses), list(losses.values()), color="tab:blue", label="loss")
    axes.set_ylim(bottom=0)
    right = axes.twinx()
    right.plot(list(scores), list(scores.values()), "o-", color="tab:orange", label="validation mIoU")
    if averaged := {r["step"]: r["ema_mean_iou"] for r in records if "ema_mean_iou" in r}:
        right.plot(list(averaged), list(averaged.values()), "o--", color="tab:green", label="of the averaged weights")
    right.set(ylabel="mIoU", ylim=(0, 1))
    figure.legend(loc="outside upper center", ncols=2)
    figure.savefig(path, dpi=120)


def draw_pictures(model, processor, dataset: Dataset, labels: LabelSet, count: int, folder: Path) -> None:
    """Write `count` pictures, evenly spread over a dataset, to `folder`: image, prediction, reference side by side."""
    folder.mkdir(exist_ok=True)
    palette, drawn = labels.palette, set()
    model.eval()
    for index in np.linspace(0, len(dataset) - 1, min(count, len(dataset))).astype(int):
        row = dataset[int(index)]
        image = np.asarray(row["image"])
        (predicted,) = segment(model, processor, [row["image"]])
        panels = [image, overlay(image, predicted, palette)]
        if row["label"] is not None:
            panels.append(colorize(np.asarray(row["label"]), palette))
        name = f"{row['name']}_{index}" if row["name"] in drawn else row["name"]  # a list may name an image twice
        drawn.add(name)
        side_by_side(*panels).save(folder / f"{name}.png")
