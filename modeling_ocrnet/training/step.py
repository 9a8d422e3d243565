"""One optimizer step."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator

import torch
import torch.nn.functional as F

from ..common.runtime import disable_malloc_trim
from .build import Experiment
from .graceful_shutdown import GracefulShutdown
from .optimization import learning_rate

logger = logging.getLogger("modeling_ocrnet.training")


def train_step(
    experiment: Experiment,
    batches: Iterator[dict],
    step: int,
    with_accuracy: bool = False,
    shutdown: GracefulShutdown | None = None,
) -> dict[str, torch.Tensor]:
    """One optimizer step over this process's share of the global batch.

    Args:
        experiment: what is trained.
        batches: this process's micro-batches, of which the next ones are taken.
        step: counted from 0.
        with_accuracy: also return `pixel_accuracy`, of the last micro-batch.
        shutdown: whose reason to stop the other processes are told.

    Returns:
        `loss`, `ocr_loss` and `auxiliary_loss`, means over the share; tensors on the device.

    Raises:
        NonFiniteLoss: before the weights change, or, if `experiment.flags` are deferred, one step later.
    """
    recipe, accelerator, model = experiment.recipe, experiment.accelerator, experiment.model
    optimizer, flags = experiment.optimizer, experiment.flags
    set_learning_rate(experiment, step)
    losses, names = [], []
    for batch in itertools.islice(batches, accelerator.gradient_accumulation_steps):
        pixel_values, labels = _take(experiment, batch)
        names.append(batch["names"])
        with accelerator.accumulate(model):
            output = model(pixel_values, labels=labels)
            losses.append(torch.stack([output.loss, output.ocr_loss, output.auxiliary_loss]).detach())
            if flags.before_backward:
                flags.submit(step, losses, names, _wants_to_stop(shutdown))
            accelerator.backward(output.loss)
            if accelerator.sync_gradients and not flags.before_backward:
                flags.submit(step, losses, names, _wants_to_stop(shutdown))
            if accelerator.sync_gradients and recipe.optimizer.clip_norm is not None:
                accelerator.clip_grad_norm_(model.parameters(), recipe.optimizer.clip_norm)
            optimizer.step()
            optimizer.zero_grad()
    disable_malloc_trim()  # from the first step on
    if experiment.ema is not None:
        experiment.ema.update_parameters(experiment.bare_model)
    values = dict(zip(("loss", "ocr_loss", "auxiliary_loss"), torch.stack(losses).mean(0), strict=True))
    if with_accuracy:
        values["pixel_accuracy"] = pixel_accuracy(output.logits, labels, experiment.bare_model.config)
    return values


def set_learning_rate(experiment: Experiment, step: int) -> None:
    """Give the optimizer the learning rate of a step, counted from 0, or, if the schedule follows the clock, of now."""
    schedule, budget = experiment.recipe.schedule, experiment.budget
    position = step if budget is None else budget.position(schedule)
    for group in experiment.optimizer.param_groups:
        # checkpoints of older runs, which may replace the groups' values, have no scale
        group["lr"] = group.get("lr_scale", 1.0) * learning_rate(position, group["base_lr"], schedule)


def unscaled_rate(experiment: Experiment) -> float:
    """The learning rate of the step at hand without `lr_multipliers` and `layer_decay`: the backbone's, or, if that is
    frozen, the heads'."""
    group = experiment.optimizer.param_groups[0]
    return group["lr"] / group.get("lr_scale", 1.0)


def _wants_to_stop(shutdown: GracefulShutdown | None) -> bool:
    return shutdown is not None and shutdown.reason is not None


def _take(experiment: Experiment, batch: dict) -> tuple[torch.Tensor, torch.Tensor]:
    """A micro-batch's images and labels on the device; how far its worker has come, and what it skipped, is noted."""
    if experiment.positions is not None:
        experiment.positions[batch["worker"]] = batch["position"]
    for problem in batch["skipped"]:
        logger.warning("skipped, and another sample taken in its place: %s", problem)
        experiment.skipped += 1
    pixel_values, labels = experiment.to_device(batch["pixel_values"], batch["labels"])
    if experiment.recipe.model.channels_last:
        pixel_values = pixel_values.contiguous(memory_format=torch.channels_last)
    return pixel_values, labels


@torch.no_grad()
def pixel_accuracy(logits: torch.Tensor, labels: torch.Tensor, config) -> torch.Tensor:
    """Share of labelled pixels that the logits, brought to the labels' size, get right."""
    logits = F.interpolate(logits.float(), size=labels.shape[-2:], mode="bilinear", align_corners=config.align_corners)
    counted = labels != config.loss_ignore_index
    return ((logits.argmax(1) == labels) & counted).sum() / counted.sum().clamp(min=1)
