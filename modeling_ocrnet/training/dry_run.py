"""A dry run: everything a run does, once, in a folder that is thrown away, and what the run would take."""

from __future__ import annotations

import logging
import math
import resource
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch

from ..common.runtime import use_all_cores
from ..evaluation.loop import evaluate_model
from .build import build, build_accelerator, build_batches
from .checkpoint import choose_checkpoint, save_checkpoint
from .failure import check_writable
from .recipe import Recipe
from .sharding import unsharded
from .state import TrainState
from .step import train_step
from .tracking import log_run_header, start_logging

logger = logging.getLogger("modeling_ocrnet.training")


@dataclass(frozen=True)
class RunCost:
    """What a run is made of, measured: seconds of a step and of an evaluated image, bytes of a checkpoint."""

    step: float
    image: float
    images: int
    checkpoint: int
    peak_memory: float

    def run(self, recipe: Recipe) -> float:
        """Seconds that the recipe's steps and evaluations take."""
        evaluations = -(-recipe.schedule.max_steps // recipe.evaluation.every)
        return self.step * recipe.schedule.max_steps + self.image * self.images * evaluations


def dry_run(recipe: Recipe) -> None:
    """Check and build everything, run two steps, one evaluation image and one checkpoint, and report.

    Raises:
        What [`modeling_ocrnet.training.loop.train`] would raise before and in its first steps.
    """
    costs = measure(recipe, steps=2)
    logger.info(
        "all is well. A full run: %d steps of %.2f s and %d evaluations of %d images at %.2f s each, about %s; "
        "peak memory %.1f GB a process; %.2f GB for each of %d checkpoints",
        recipe.schedule.max_steps,
        costs.step,
        -(-recipe.schedule.max_steps // recipe.evaluation.every),
        costs.images,
        costs.image,
        timedelta(seconds=int(costs.run(recipe))),
        costs.peak_memory,
        costs.checkpoint / 1e9,
        recipe.checkpoint.keep_last,
    )


def measure(recipe: Recipe, steps: int, enough: float = math.inf) -> RunCost:
    """Build everything in a folder that is thrown away, and do everything once, steps several times.

    Args:
        recipe: that is tried out.
        steps: at most.
        enough: seconds of steps after which no other is begun.
    """
    accelerator = build_accelerator(recipe)
    use_all_cores(accelerator.device)
    choose_checkpoint("auto", Path(recipe.output))
    check_writable(Path(recipe.output))
    with tempfile.TemporaryDirectory() as scratch:
        start_logging(accelerator, Path(scratch))
        experiment = build(recipe, accelerator)
        log_run_header(accelerator, recipe)
        batches = build_batches(experiment, 0)
        seconds = []
        for step in range(min(steps, recipe.schedule.max_steps)):
            start = time.perf_counter()
            values = train_step(experiment, batches, step)
            loss = values["loss"].item()
            logger.info("step %d: loss %.4f", step + 1, loss)
            seconds.append(time.perf_counter() - start)
            if sum(seconds) > enough:
                break

        experiment.flags.read()
        processes = accelerator.num_processes
        for _ in range(2):  # the first time takes longer than all others
            start = time.perf_counter()
            with unsharded(accelerator, experiment.bare_model):
                evaluate_model(
                    experiment.bare_model,
                    experiment.processor,
                    experiment.val_data.select(range(min(processes, len(experiment.val_data)))),
                    accelerator,
                    experiment.labels,
                    recipe.evaluation.inference,
                )
            per_image = (time.perf_counter() - start) / processes
        saved = save_checkpoint(accelerator, recipe, Path(scratch), TrainState())
        disk = sum(x.stat().st_size for x in saved.rglob("*"))
    return RunCost(
        # the first ones take longer
        step=statistics.mean(seconds[len(seconds) // 2 :]),
        image=per_image,
        images=len(experiment.val_data),
        checkpoint=disk,
        peak_memory=_peak_memory(accelerator.device),
    )


def _peak_memory(device: torch.device) -> float:
    """Gigabytes that this process has needed at most, on its device."""
    if device.type != "cpu" and hasattr(torch.accelerator, "max_memory_allocated"):
        return torch.accelerator.max_memory_allocated(device) / 1e9
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e9 if sys.platform == "darwin" else 1e6)
