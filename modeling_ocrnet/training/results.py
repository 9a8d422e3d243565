"""What a run leaves while it goes on and at its end: checkpoints, scores, models, and pictures."""

from __future__ import annotations

import logging
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object

from ..evaluation.loop import evaluate_model
from ..report.training_run import draw_curve, draw_pictures
from .build import Experiment
from .checkpoint import save_checkpoint, save_model, write_recipe
from .failure import saving
from .lora import keep_adapter
from .optimization import broadcast_buffers
from .recipe import Recipe
from .run_time import summarize, summary_line, write_summary
from .sharding import unsharded
from .state import TrainState
from .time_budget import measured, recipe_as_run
from .tracking import MetricsLog

logger = logging.getLogger("modeling_ocrnet.training")


def save(experiment: Experiment, state: TrainState, output_dir: Path) -> None:
    """A checkpoint of all processes."""
    accelerator = experiment.accelerator
    if experiment.positions is not None:
        state.stream = gather_object([experiment.positions])
    state.skipped = all_reduce_sum(accelerator, experiment.skipped)
    if (budget := experiment.budget) is not None:
        state.seconds, state.share, state.minutes = budget.used, budget.share, float(budget.minutes)
    state.took = experiment.time.read(state.step)
    with measured(budget, "checkpoint"):
        path = save_checkpoint(accelerator, experiment.recipe, output_dir, state)
    logger.info("saved %s", path)


def evaluate(experiment: Experiment, state: TrainState, metrics: MetricsLog, output_dir: Path) -> None:
    """Score the weights, and their moving average if there is one; keep whichever is the best so far of both.

    The scores become `state.scores` and `state.ema_scores`.
    """
    state.scores = score(experiment, experiment.bare_model, state.step, metrics)
    found: list[tuple[dict[str, Any], Any]] = [(state.scores, experiment.bare_model)]
    if experiment.ema is not None:
        averaged = experiment.ema.module
        state.ema_scores = score(experiment, averaged, state.step, metrics, weights="ema")
        found.append((state.ema_scores, averaged))
    scores, model = max(found, key=lambda x: x[0]["mean_iou"])
    if state.best is None or scores["mean_iou"] > state.best["mean_iou"]:
        state.best = {x: scores[x] for x in ("step", "weights", "mean_iou")}
        if experiment.recipe.checkpoint.keep_best:
            keep_model(experiment, model, as_run(experiment, state), output_dir / "best", scores)


def keep_model(experiment: Experiment, model, recipe: Recipe, folder: Path, scores: dict[str, Any]) -> None:
    """Write a model's folder. One with adapters is merged first, and its adapter is written beside it."""
    if experiment.adapter is not None:
        model = keep_adapter(experiment.accelerator, experiment.adapter, model, folder)
    save_model(experiment.accelerator, model, experiment.processor, recipe, folder, scores)


def score(experiment: Experiment, model, step: int, metrics: MetricsLog, weights: str = "raw") -> dict:
    """Score `model` on the validation split, and say so: what `metrics.json` holds.

    Args:
        weights: `raw`, or `ema`: then the names in `metrics.jsonl` begin with `ema_`.
    """
    recipe, accelerator, labels = experiment.recipe, experiment.accelerator, experiment.labels
    start = time.perf_counter()
    broadcast_buffers(accelerator, model)
    with measured(experiment.budget, "image", len(experiment.val_data)), unsharded(accelerator, model):
        result = evaluate_model(
            model,
            experiment.processor,
            experiment.val_data,
            accelerator,
            labels,
            recipe.evaluation.inference,
            workers=min(recipe.data.workers, 2),
        )
    overall = {key: result[key] for key in ("mean_iou", "mean_accuracy", "overall_accuracy")}
    by_class = {
        name: None if iou != iou else float(iou)
        for name, iou in zip(labels.names, result["per_category_iou"], strict=True)
    }
    metrics.write(step, **{key if weights == "raw" else f"{weights}_{key}": x for key, x in overall.items()})
    logger.info(
        "evaluated %sstep %d on %d images: mIoU %.4f  mean accuracy %.4f  pixel accuracy %.4f  (%.0f s)",
        "" if weights == "raw" else "the moving average after ",
        step,
        len(experiment.val_data),
        *overall.values(),
        time.perf_counter() - start,
    )
    return {
        "step": step,
        "weights": weights,
        "dataset": recipe.data.title,
        "split": recipe.evaluation.split,
        **overall,
        "iou": by_class,
    }


def measure_the_end(experiment: Experiment, state: TrainState, metrics: MetricsLog, output_dir: Path) -> None:
    """Do what the end of the run consists of, to know how long that takes: a part of the evaluation, curve and pictures
    in a folder that is thrown away, and a checkpoint.

    Raises:
        UserError: if a new run's time isn't enough for one evaluation.
    """
    recipe, accelerator, budget = experiment.recipe, experiment.accelerator, experiment.budget
    if budget is None:  # a run of a fixed number of steps ends when it ends
        return
    images, models = len(experiment.val_data), 1 if experiment.ema is None else 2
    budget.expect(
        # a model's folder is at most as large as a checkpoint
        at_the_end={"image": models * images, "drawing": 1, "checkpoint": 1 + models + recipe.checkpoint.keep_best},
        per_step={"image": models * images / recipe.evaluation.every, "checkpoint": 1 / recipe.checkpoint.every},
    )
    count = min(images, recipe.evaluation.inference.batch_size * accelerator.num_processes)
    for _ in range(2):  # the first time takes longer than all others
        with measured(budget, "image", count), unsharded(accelerator, experiment.bare_model):
            evaluate_model(
                experiment.bare_model,
                experiment.processor,
                experiment.val_data.select(range(count)),
                accelerator,
                experiment.labels,
                recipe.evaluation.inference,
            )
    budget.check_end_fits(f"evaluate fewer than {images} images with --evaluation.limit")
    with tempfile.TemporaryDirectory() as scratch, measured(budget, "drawing"):
        draw(experiment, metrics, Path(scratch))
    experiment.bare_model.train()
    save(experiment, state, output_dir)


def finish(experiment: Experiment, state: TrainState, metrics: MetricsLog, output_dir: Path) -> None:
    """What a run that came to its end leaves: the model, its moving average if there is one, and pictures."""
    recipe, accelerator, budget = as_run(experiment, state), experiment.accelerator, experiment.budget
    keep_model(experiment, experiment.bare_model, recipe, output_dir / "model", state.scores or {})
    if experiment.ema is not None:
        folder, scores = output_dir / "model_ema", state.ema_scores or {}
        keep_model(experiment, experiment.ema.module, recipe, folder, scores)
    if budget is not None and accelerator.is_main_process:
        for folder in filter(Path.exists, (output_dir, output_dir / "best")):  # now the number of steps is known
            with saving(folder):
                write_recipe(recipe, folder)
    draw(experiment, metrics, output_dir)
    summary = run_summary(experiment, state)
    for folder in (output_dir / "model", output_dir / "model_ema"):
        if accelerator.is_main_process and folder.exists():
            with saving(folder):
                write_summary(folder, summary)
    accelerator.end_training()
    scores, best = state.scores or {}, state.best or {}
    logger.info("done: mIoU %.4f after %d steps, the best %.4f", scores["mean_iou"], scores["step"], best["mean_iou"])
    logger.info("%s", summary_line(summary, state.step))
    names = {
        "model": "model",
        "adapter": "adapter",
        "moving average": "model_ema",
        "curve": "curve.png",
        "pictures": "pictures",
    }
    for what, name in names.items():
        if (output_dir / name).exists():
            logger.info("%s: %s", what, output_dir / name)


def draw(experiment: Experiment, metrics: MetricsLog, output_dir: Path) -> None:
    """The curve, and pictures of the trained weights' predictions."""
    with unsharded(experiment.accelerator, experiment.bare_model):
        if experiment.accelerator.is_main_process:
            draw_curve(metrics.read(), output_dir / "curve.png")
            folder, count = output_dir / "pictures", experiment.recipe.logging.pictures
            model, processor = experiment.bare_model, experiment.processor
            draw_pictures(model, processor, experiment.val_data, experiment.labels, count, folder)


def run_summary(experiment: Experiment, state: TrainState) -> dict[str, Any]:
    """What the run was asked to take, and what it has taken so far; see [`summarize`]."""
    budget, recipe = experiment.budget, experiment.recipe
    asked: dict[str, float] = {"steps": recipe.schedule.max_steps} if budget is None else {"minutes": budget.minutes}
    return summarize(asked, experiment.time.read(state.step), recipe.global_batch)


def as_run(experiment: Experiment, state: TrainState) -> Recipe:
    """The recipe to keep beside a model: of a run of so many minutes, with the number of steps that it took."""
    return experiment.recipe if experiment.budget is None else recipe_as_run(experiment.recipe, state.step)


def all_reduce_sum(accelerator, count: int) -> int:
    """The sum of a small number over all processes."""
    return round(accelerator.reduce(torch.tensor([float(count)], device=accelerator.device), "sum").item())
