"""A rehearsal: everything a run does, once, in a folder that is thrown away; and what the run would take."""

from __future__ import annotations

import logging
import resource
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import torch

from ..evaluation.loop import evaluate_model
from ..inference.memory import keep_freed_memory
from .build import build, build_accelerator, build_batches
from .checkpoint import choose_checkpoint, save_checkpoint
from .cpu import use_all_cores
from .loop import update
from .recipe import Recipe
from .sharding import whole
from .tracking import log_head, start_logging

logger = logging.getLogger("modeling_ocrnet.training")


def rehearse(recipe: Recipe) -> None:
    """Check and build everything, run two updates, one evaluation image and one checkpoint, and report.

    Raises:
        What [`modeling_ocrnet.training.loop.train`] would raise before and in its first updates.
    """
    keep_freed_memory()
    accelerator = build_accelerator(recipe)
    use_all_cores(accelerator)
    choose_checkpoint("auto", Path(recipe.output_dir))
    with tempfile.TemporaryDirectory() as scratch:
        start_logging(accelerator, Path(scratch))
        experiment = build(recipe, accelerator)
        log_head(accelerator, recipe)
        batches = build_batches(experiment, 0)
        seconds = []
        for step in range(min(2, recipe.schedule.max_steps)):
            start = time.perf_counter()
            values = update(experiment, batches, step)
            logger.info("update %d: loss %.4f", step + 1, values["loss"].item())
            seconds.append(time.perf_counter() - start)

        start = time.perf_counter()
        processes = accelerator.num_processes
        with whole(accelerator, experiment.bare_model):
            evaluate_model(
                experiment.bare_model,
                experiment.processor,
                experiment.val_data.select(range(min(processes, len(experiment.val_data)))),
                accelerator,
                experiment.labels,
                recipe.evaluation.inference,
            )
        per_image = (time.perf_counter() - start) / processes
        saved = save_checkpoint(accelerator, recipe, Path(scratch), {"step": 0, "best": None})
        disk = sum(x.stat().st_size for x in saved.rglob("*"))

    evaluations = -(-recipe.schedule.max_steps // recipe.evaluation.every)
    training = seconds[-1] * recipe.schedule.max_steps
    evaluating = per_image * len(experiment.val_data) * evaluations
    logger.info(
        "all is well. A full run: %d updates of %.2f s and %d evaluations of %d images at %.2f s each, about %s; "
        "peak memory %.1f GB a process; %.2f GB for each of %d checkpoints",
        recipe.schedule.max_steps,
        seconds[-1],
        evaluations,
        len(experiment.val_data),
        per_image,
        timedelta(seconds=int(training + evaluating)),
        _peak_memory(accelerator.device),
        disk / 1e9,
        recipe.checkpoint.keep_last,
    )


def _peak_memory(device: torch.device) -> float:
    """Gigabytes that this process has needed at most, on its device."""
    if device.type != "cpu" and hasattr(torch.accelerator, "max_memory_allocated"):
        return torch.accelerator.max_memory_allocated(device) / 1e9
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e9 if sys.platform == "darwin" else 1e6)
