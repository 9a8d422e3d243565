"""The training loop: steps, and what happens between them."""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from pathlib import Path

import torch
from accelerate.utils import gather_object
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from ..common.runtime import use_all_cores
from ..evaluation.loop import evaluate_model
from ..interop.model_zoo_log import write_model_zoo_line
from ..report.training_run import draw_curve, draw_pictures
from .build import Experiment, build, build_accelerator, build_batches
from .checkpoint import load_checkpoint, open_run, save_checkpoint, save_model, write_recipe
from .failure import check_writable, saving
from .graceful_shutdown import GracefulShutdown
from .optimization import broadcast_buffers
from .recipe import Recipe
from .sharding import unsharded
from .state import TrainState, run_fingerprint
from .step import train_step
from .tracking import Meter, MetricsLog, log_run_header, start_logging

logger = logging.getLogger("modeling_ocrnet.training")


def train(recipe: Recipe, resume: str | None = None) -> Path:
    """Run an experiment to its end, or until it is told to stop.

    Args:
        recipe: the experiment.
        resume: `"last"`, `"auto"` (the last checkpoint if there is one), a checkpoint folder, or `None` for a new run.

    Returns:
        `output_dir/model`, a folder for `from_pretrained`.

    Raises:
        UserError: before work starts, for what can't be done.
        NonFiniteLoss: with the step and the names of the samples.
        SaveError: if the disk is full.
        SystemExit: after a signal, with a checkpoint saved.
    """
    shutdown = GracefulShutdown()
    output_dir = Path(recipe.output)
    accelerator = build_accelerator(recipe)
    use_all_cores(accelerator.device)
    check_writable(output_dir)
    checkpoint, damaged = open_run(accelerator, resume, output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    start_logging(accelerator, output_dir)
    for line in damaged:
        logger.warning("%s", line)
    experiment = build(recipe, accelerator)
    state = begin(experiment, checkpoint, output_dir)
    log_run_header(accelerator, recipe)
    if checkpoint is not None:
        logger.info("resumed from %s", checkpoint)
    metrics = MetricsLog(accelerator, recipe, output_dir)
    with logging_redirect_tqdm([logging.getLogger("modeling_ocrnet")]), shutdown:
        training_loop(experiment, state, metrics, output_dir, shutdown)
    finish(experiment, state, metrics, output_dir)
    return output_dir / "model"


def begin(experiment: Experiment, checkpoint: Path | None, output_dir: Path) -> TrainState:
    """The state of a new run, or that of `checkpoint`, which is loaded into the experiment."""
    recipe, accelerator = experiment.recipe, experiment.accelerator
    fingerprint = run_fingerprint(accelerator, experiment.train_data, experiment.labels)
    if checkpoint is None:
        if accelerator.is_main_process:
            write_recipe(recipe, output_dir)
        return TrainState(fingerprint=fingerprint)
    state = load_checkpoint(accelerator, recipe, checkpoint, fingerprint)
    state.fingerprint = fingerprint  # the number of processes may have changed
    if recipe.data.streaming:
        experiment.positions = state.stream_positions(accelerator)
    if accelerator.is_main_process:
        experiment.skipped = state.skipped
    return state


def training_loop(
    experiment: Experiment, state: TrainState, metrics: MetricsLog, output_dir: Path, shutdown: GracefulShutdown
) -> None:
    """All steps from `state.step` on, with their log lines, evaluations and checkpoints.

    Raises:
        NonFiniteLoss: before anything is kept of the weights after such a step.
        SystemExit: in all processes after the same step, if one of them is told to stop: after the step at hand, or one
            or two later if it takes several processes, or a device, to agree.
    """
    recipe, accelerator, flags = experiment.recipe, experiment.accelerator, experiment.flags
    last = recipe.schedule.max_steps

    def due(every: int) -> bool:
        return state.step % every == 0 or state.step == last

    batches, meter = build_batches(experiment, state.step), Meter()
    bar = tqdm(total=last, initial=state.step, unit="step", disable=None if accelerator.is_main_process else True)
    for step in range(state.step, last):
        state.step = step + 1
        values = train_step(experiment, batches, step, with_accuracy=due(recipe.logging.every), shutdown=shutdown)
        accuracy = values.pop("pixel_accuracy", None)
        meter.add(values, recipe.global_batch)
        bar.update()
        if due(recipe.logging.every):
            flags.read()
            log_step(experiment, state, meter, accuracy, metrics, bar)
        if due(recipe.evaluation.every):
            flags.read()
            evaluate(experiment, state, metrics, output_dir)
            meter.reset()
        if due(recipe.checkpoint.every):
            flags.read()
        stop = flags.stop or (accelerator.num_processes == 1 and shutdown.reason is not None)
        if stop or due(recipe.checkpoint.every):
            flags.read()
            save(experiment, state, output_dir)
            meter.reset()
        if stop and state.step < last:
            reason = shutdown.reason or "another process"
            logger.info("stopped by %s after step %d: go on with --resume last", reason, state.step)
            raise SystemExit(shutdown.exit_code)
    bar.close()


def log_step(
    experiment: Experiment, state: TrainState, meter: Meter, accuracy: torch.Tensor, metrics: MetricsLog, bar: tqdm
) -> None:
    """The means since the last log line: on the console, in the files, and at the progress bar's end."""
    recipe, accelerator = experiment.recipe, experiment.accelerator
    line = {**meter.read(accelerator), "pixel_accuracy": accelerator.reduce(accuracy, "mean").item()}
    line["lr"] = experiment.optimizer.param_groups[0]["lr"]
    if recipe.data.on_error == "skip":
        line["skipped"] = all_reduce_sum(accelerator, experiment.skipped)
    metrics.write(state.step, **line)
    left = (recipe.schedule.max_steps - state.step) * recipe.global_batch / line["images_per_second"]
    logger.info(
        "step %d/%d  loss %.4f  ocr_loss %.4f  auxiliary_loss %.4f  pixel_accuracy %.4f  lr %.3e  "
        "%.2f images/s  left %s",
        state.step,
        recipe.schedule.max_steps,
        *(line[x] for x in ("loss", "ocr_loss", "auxiliary_loss", "pixel_accuracy", "lr", "images_per_second")),
        timedelta(seconds=int(left)),
    )
    bar.set_postfix(loss=f"{line['loss']:.3f}", lr=f"{line['lr']:.1e}", images=f"{line['images_per_second']:.1f}/s")
    if recipe.logging.modelzoo and accelerator.is_main_process:
        path = metrics.path.with_name("modelzoo.log")
        with saving(path):
            write_model_zoo_line(path, state.step, line["loss"], line["images_per_second"])


def save(experiment: Experiment, state: TrainState, output_dir: Path) -> None:
    """A checkpoint of all processes."""
    accelerator = experiment.accelerator
    if experiment.positions is not None:
        state.stream = gather_object([experiment.positions])
    state.skipped = all_reduce_sum(accelerator, experiment.skipped)
    path = save_checkpoint(accelerator, experiment.recipe, output_dir, state)
    logger.info("saved %s", path)


def finish(experiment: Experiment, state: TrainState, metrics: MetricsLog, output_dir: Path) -> None:
    """What a run that came to its end leaves: the model, its moving average if there is one, and pictures."""
    recipe, accelerator = experiment.recipe, experiment.accelerator
    model, processor = experiment.bare_model, experiment.processor
    save_model(accelerator, model, processor, recipe, output_dir / "model", state.scores)
    if experiment.ema is not None:
        save_model(accelerator, experiment.ema.module, processor, recipe, output_dir / "model_ema", state.ema_scores)
    with unsharded(accelerator, model):
        if accelerator.is_main_process:
            draw_curve(metrics.read(), output_dir / "curve.png")
            folder, count = output_dir / "pictures", recipe.logging.pictures
            draw_pictures(model, processor, experiment.val_data, experiment.labels, count, folder)
    accelerator.end_training()
    scores, best = state.scores, state.best
    logger.info("done: mIoU %.4f after %d steps, the best %.4f", scores["mean_iou"], scores["step"], best["mean_iou"])
    names = {"model": "model", "moving average": "model_ema", "curve": "curve.png", "pictures": "pictures"}
    for what, name in names.items():
        if (output_dir / name).exists():
            logger.info("%s: %s", what, output_dir / name)


def evaluate(experiment: Experiment, state: TrainState, metrics: MetricsLog, output_dir: Path) -> None:
    """Score the weights, and their moving average if there is one; keep whichever is the best so far of both.

    The scores become `state.scores` and `state.ema_scores`.
    """
    state.scores = score(experiment, experiment.bare_model, state.step, metrics)
    found = [(state.scores, experiment.bare_model)]
    if experiment.ema is not None:
        averaged = experiment.ema.module
        state.ema_scores = score(experiment, averaged, state.step, metrics, weights="ema")
        found.append((state.ema_scores, averaged))
    scores, model = max(found, key=lambda x: x[0]["mean_iou"])
    if state.best is None or scores["mean_iou"] > state.best["mean_iou"]:
        state.best = {x: scores[x] for x in ("step", "weights", "mean_iou")}
        if experiment.recipe.checkpoint.keep_best:
            folder = output_dir / "best"
            save_model(experiment.accelerator, model, experiment.processor, experiment.recipe, folder, scores)


def score(experiment: Experiment, model, step: int, metrics: MetricsLog, weights: str = "raw") -> dict:
    """Score `model` on the validation split, and say so: what `metrics.json` holds.

    Args:
        weights: `raw`, or `ema`: then the names in `metrics.jsonl` begin with `ema_`.
    """
    recipe, accelerator, labels = experiment.recipe, experiment.accelerator, experiment.labels
    start = time.perf_counter()
    broadcast_buffers(accelerator, model)
    with unsharded(accelerator, model):
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


def all_reduce_sum(accelerator, count: int) -> int:
    """The sum of a small number over all processes."""
    return round(accelerator.reduce(torch.tensor([float(count)], device=accelerator.device), "sum").item())
