"""The training loop: updates, and what happens between them."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import torch
import torch.nn.functional as F
from accelerate.utils import gather_object
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from ..evaluation.loop import evaluate_model
from ..report.training_run import draw_curve, draw_pictures
from ..runtime import disable_malloc_trim, use_all_cores
from .build import Experiment, build, build_accelerator, build_batches
from .checkpoint import load_checkpoint, open_run, save_checkpoint, save_model, write_recipe
from .failure import NonFiniteLoss, check_writable
from .graceful_shutdown import GracefulShutdown
from .optimization import broadcast_buffers, learning_rate
from .recipe import Recipe
from .sharding import unsharded
from .state import TrainState, run_fingerprint
from .tracking import Meter, MetricsLog, log_run_header, start_logging, write_model_zoo_line

logger = logging.getLogger("modeling_ocrnet.training")


def train(recipe: Recipe, resume: str | None = None) -> Path:
    """Run an experiment to its end, or until it is told to stop.

    Args:
        recipe: the experiment.
        resume: `"last"`, `"auto"` (the last checkpoint if there is one), a checkpoint folder, or `None` for a new run.

    Returns:
        `output_dir/model`, a folder for `from_pretrained`.

    Raises:
        ValueError, DataError, CheckpointError: before work starts, for what can't be done.
        NonFiniteLoss: with the update and the names of the samples.
        SaveError: where the disk is full.
        SystemExit: after a signal, with a checkpoint saved.
    """
    shutdown = GracefulShutdown()
    output_dir = Path(recipe.output_dir)
    accelerator = build_accelerator(recipe)
    use_all_cores(accelerator.device)
    check_writable(output_dir)
    checkpoint, damaged = open_run(accelerator, resume, output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    start_logging(accelerator, output_dir)
    for line in damaged:
        logger.warning("%s", line)
    experiment = build(recipe, accelerator)
    state = TrainState(fingerprint=run_fingerprint(accelerator, experiment.train_data, experiment.labels))
    if checkpoint is not None:
        fingerprint, state = state.fingerprint, load_checkpoint(accelerator, recipe, checkpoint, state.fingerprint)
        state.fingerprint = fingerprint  # of the processes that go on
        if recipe.data.streaming:
            experiment.positions = state.stream_positions(accelerator)
    elif accelerator.is_main_process:
        write_recipe(recipe, output_dir)
    log_run_header(accelerator, recipe)
    if checkpoint is not None:
        logger.info("resumed from %s", checkpoint)
    metrics = MetricsLog(accelerator, recipe, output_dir)
    with logging_redirect_tqdm([logging.getLogger("modeling_ocrnet")]), shutdown:
        final = training_loop(experiment, state, metrics, output_dir, shutdown)
    target = output_dir / "model"
    save_model(accelerator, experiment.bare_model, experiment.processor, recipe, target, final)
    if experiment.average is not None:
        averaged = output_dir / "model_ema"
        save_model(accelerator, experiment.average.module, experiment.processor, recipe, averaged, state.ema_scores)
    with unsharded(accelerator, experiment.bare_model):
        if accelerator.is_main_process:
            draw_curve(metrics.read(), output_dir / "curve.png")
            draw_pictures(
                experiment.bare_model,
                experiment.processor,
                experiment.val_data,
                experiment.labels,
                recipe.logging.pictures,
                output_dir / "pictures",
            )
    accelerator.end_training()
    logger.info(
        "done: mIoU %.4f after %d updates, the best %.4f", final["mean_iou"], final["step"], state.best["mean_iou"]
    )
    left = {"model": target, "average of the weights": output_dir / "model_ema"}
    for what, path in (left | {"curve": output_dir / "curve.png", "pictures": output_dir / "pictures"}).items():
        if path.exists():
            logger.info("%s: %s", what, path)
    return target


def training_loop(
    experiment: Experiment, state: TrainState, metrics: MetricsLog, output_dir: Path, shutdown: GracefulShutdown
) -> dict:
    """All updates from `state.step` on, with their log lines, evaluations and checkpoints.

    Returns:
        The last evaluation's scores.
    """
    recipe, accelerator = experiment.recipe, experiment.accelerator
    last = recipe.schedule.max_steps
    batches = build_batches(experiment, state.step)
    if accelerator.is_main_process:
        experiment.skipped = state.skipped
    meter, scores = Meter(), state.scores
    bar = tqdm(total=last, initial=state.step, unit="update", disable=None if accelerator.is_main_process else True)
    for step in range(state.step, last):
        log_now = (step + 1) % recipe.logging.every == 0 or step + 1 == last
        values = train_step(experiment, batches, step, with_accuracy=log_now)
        accuracy = values.pop("pixel_accuracy", None)
        meter.add(values, recipe.global_batch)
        state.step = step + 1
        bar.update()
        if log_now:
            line = {**meter.read(accelerator), "pixel_accuracy": accelerator.reduce(accuracy, "mean").item()}
            line["lr"] = experiment.optimizer.param_groups[0]["lr"]
            if recipe.data.on_error == "skip":
                line["skipped"] = all_reduce_sum(accelerator, experiment.skipped)
            metrics.write(step + 1, **line)
            report(line, step + 1, recipe, bar)
            if recipe.logging.modelzoo and accelerator.is_main_process:
                write_model_zoo_line(output_dir / "modelzoo.log", step + 1, line)
        if (step + 1) % recipe.evaluation.every == 0 or step + 1 == last:
            scores = state.scores = evaluate(experiment, state, metrics, output_dir)
            meter.reset()
        stop = all_reduce_sum(accelerator, shutdown.reason is not None) > 0  # all after the same update
        if stop or (step + 1) % recipe.checkpoint.every == 0 or step + 1 == last:
            if experiment.positions is not None:
                state.stream = gather_object([experiment.positions])
            state.skipped = all_reduce_sum(accelerator, experiment.skipped)
            path = save_checkpoint(accelerator, recipe, output_dir, state)
            logger.info("saved %s", path)
            meter.reset()
        if stop and step + 1 < last:
            logger.info(
                "stopped by %s after update %d: go on with --resume last",
                shutdown.reason or "another process",
                step + 1,
            )
            raise SystemExit(shutdown.exit_code)
    bar.close()
    return scores


def train_step(
    experiment: Experiment, batches: Iterator[dict], step: int, with_accuracy: bool = False
) -> dict[str, torch.Tensor]:
    """One optimizer update over this process's share of the global batch.

    Returns:
        `loss`, `ocr_loss`, `auxiliary_loss` as means over the share, and `pixel_accuracy` of its last micro-batch if
        asked for; tensors on the device.

    Raises:
        NonFiniteLoss: before the weights are touched.
    """
    recipe, accelerator, model, optimizer = (
        experiment.recipe,
        experiment.accelerator,
        experiment.model,
        experiment.optimizer,
    )
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(step, group["base_lr"], recipe.schedule)
    losses = []
    for batch in itertools.islice(batches, accelerator.gradient_accumulation_steps):
        pixel_values, labels = (batch[x].to(accelerator.device, non_blocking=True) for x in ("pixel_values", "labels"))
        if recipe.model.channels_last:
            pixel_values = pixel_values.contiguous(memory_format=torch.channels_last)
        if experiment.positions is not None:
            experiment.positions[batch["worker"]] = batch["position"]
        for problem in batch["skipped"]:
            logger.warning("skipped, and another sample taken in its place: %s", problem)
            experiment.skipped += 1
        with accelerator.accumulate(model):
            output = model(pixel_values, labels=labels)
            losses.append(torch.stack([output.loss, output.ocr_loss, output.auxiliary_loss]).detach())
            if not losses[-1].isfinite().all():
                raise NonFiniteLoss(
                    f"the loss of update {step + 1} is {output.loss.item()} (OCR {output.ocr_loss.item()}, auxiliary "
                    f"{output.auxiliary_loss.item()}); samples: {', '.join(batch['names'])}. The last checkpoint is "
                    "intact; a lower optimizer.lr, a warm-up or optimizer.clip_norm may help"
                )
            accelerator.backward(output.loss)
            if accelerator.sync_gradients and recipe.optimizer.clip_norm is not None:
                accelerator.clip_grad_norm_(model.parameters(), recipe.optimizer.clip_norm)
            optimizer.step()
            optimizer.zero_grad()
    disable_malloc_trim()  # from the first update on
    if experiment.average is not None:
        experiment.average.update_parameters(experiment.bare_model)
    values = dict(zip(("loss", "ocr_loss", "auxiliary_loss"), torch.stack(losses).mean(0), strict=True))
    if with_accuracy:
        values["pixel_accuracy"] = pixel_accuracy(output.logits, labels, experiment.bare_model.config)
    return values


@torch.no_grad()
def pixel_accuracy(logits: torch.Tensor, labels: torch.Tensor, config) -> torch.Tensor:
    """Share of labelled pixels that the logits, brought to the labels' size, get right."""
    logits = F.interpolate(logits.float(), size=labels.shape[-2:], mode="bilinear", align_corners=config.align_corners)
    counted = labels != config.loss_ignore_index
    return ((logits.argmax(1) == labels) & counted).sum() / counted.sum().clamp(min=1)


def report(line: dict[str, float], step: int, recipe: Recipe, bar: tqdm) -> None:
    """One log line, on the console and in the file, and the progress bar's end."""
    last = recipe.schedule.max_steps
    left = timedelta(seconds=int((last - step) * recipe.global_batch / line["images_per_second"]))
    logger.info(
        "update %d/%d  loss %.4f  ocr_loss %.4f  auxiliary_loss %.4f  pixel_accuracy %.4f  lr %.3e  "
        "%.2f images/s  left %s",
        step,
        last,
        *(line[x] for x in ("loss", "ocr_loss", "auxiliary_loss", "pixel_accuracy", "lr", "images_per_second")),
        left,
    )
    bar.set_postfix(loss=f"{line['loss']:.3f}", lr=f"{line['lr']:.1e}", images=f"{line['images_per_second']:.1f}/s")


def evaluate(experiment: Experiment, state: TrainState, metrics: MetricsLog, output_dir: Path) -> dict:
    """Score the weights, and their average if there is one; keep whichever is the best so far of both.

    Returns:
        The scores of the weights; those of the average become `state.ema_scores`.
    """
    found = [(score(experiment, experiment.bare_model, state.step, metrics), experiment.bare_model)]
    if experiment.average is not None:
        averaged = experiment.average.module
        state.ema_scores = score(experiment, averaged, state.step, metrics, weights="ema")
        found.append((state.ema_scores, averaged))
    scores, model = max(found, key=lambda x: x[0]["mean_iou"])
    if state.best is None or scores["mean_iou"] > state.best["mean_iou"]:
        state.best = {x: scores[x] for x in ("step", "weights", "mean_iou")}
        if experiment.recipe.checkpoint.keep_best:
            folder = output_dir / "best"
            save_model(experiment.accelerator, model, experiment.processor, experiment.recipe, folder, scores)
    return found[0][0]


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
        "evaluated %supdate %d on %d images: mIoU %.4f  mean accuracy %.4f  pixel accuracy %.4f  (%.0f s)",
        "" if weights == "raw" else "the average of the weights after ",
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
