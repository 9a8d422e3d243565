"""The overhead of the training loop over its steps, and the places at which it waits for the device."""

from __future__ import annotations

import json
import logging
import os
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from modeling_ocrnet.training import recipe as R
from modeling_ocrnet.training.loop import train
from street_scenes import write_street_scenes

from .section import Section
from .settings import Settings, synchronize
from .training import training_step

VARIANT, BATCH = "hr18", 2


def waits(section: Section, settings: Settings) -> None:
    """Compare images per second of the loop with those of its steps alone, then count synchronisations per step."""
    device = settings.device()
    logging.getLogger("modeling_ocrnet").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        height, width = settings.crop
        write_street_scenes(root / "scenes", train=8, val=1, size=(height, width))
        recipe = _recipe(settings, root)
        step = training_step(settings, settings.model(VARIANT).train(), BATCH, "bf16", True, False)
        step.seconds(device, 3)
        alone = BATCH / min(step.seconds(device, settings.repeats) for _ in range(3))
        del step
        section.record(images_per_second_of_steps=alone)
        rows = [("steps alone, on the same batch", f"{alone:.1f}", "")]
        for workers in sorted({0, recipe.data.workers}):
            reached = _images_per_second(replace(recipe, data=replace(recipe.data, workers=workers)), root, settings)
            rows.append((f"training loop, {workers} data workers", f"{reached:.1f}", f"{reached / alone:.0%}"))
            section.table(f"{VARIANT}, {BATCH} of {height}x{width}, bf16", ("what", "images/s", "of the steps'"), rows)
            section.record(**{f"images_per_second_of_the_loop_with_{workers}_workers": reached})
            if section.time_left() < 0:
                return
        _table_of_waits(section, device, recipe, root)


def _table_of_waits(section: Section, device: torch.device, recipe: R.Recipe, root: Path) -> None:
    """Count the synchronisations of a step. The difference of two runs of different lengths excludes those at the
    beginning and the end of a run."""
    few, many = 2, 6
    found = {}
    for steps in (few, many):
        run = replace(recipe, data=replace(recipe.data, workers=0), output=str(root / f"waits{steps}"))
        run = replace(run, schedule=R.ScheduleRecipe(max_steps=steps), logging=R.LoggingRecipe(every=100, pictures=0))
        with synchronisations(device) as found[steps]:
            train(run)
    counts = {place: (n - found[few][place]) / (many - few) for place, n in found[many].items()}
    counts = {place: n for place, n in sorted(counts.items(), key=lambda x: -x[1]) if n > 0}
    rows = [(place, f"{n:.2f}") for place, n in counts.items()] or [("none", "0")]
    section.table("Where a step waits for the device (without logging)", ("place", "times per step"), rows)
    section.record(synchronisations_of_a_step=counts)


@contextmanager
def synchronisations(device: torch.device) -> Iterator[Counter]:
    """Counts synchronisations by file and line, if the device's module reports them; otherwise by operators that read
    a value."""
    counts, module = Counter(), torch.get_device_module(device)
    if not hasattr(module, "set_sync_debug_mode"):
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            yield counts
        counts.update(x.name for x in profiler.events() if x.name in ("aten::_local_scalar_dense", "aten::nonzero"))
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        before = module.get_sync_debug_mode()
        module.set_sync_debug_mode("warn")
        try:
            yield counts
        finally:
            module.set_sync_debug_mode(before)
    said = [x for x in caught if "synchronizing" in str(x.message)]
    counts.update(f"{'/'.join(Path(x.filename).parts[-3:])}:{x.lineno}" for x in said)


def _images_per_second(recipe: R.Recipe, root: Path, settings: Settings) -> float:
    """Images per second of the steps between two log lines, so without the start of the run and the evaluation."""
    folder = root / f"loop{recipe.data.workers}"
    train(replace(recipe, output=str(folder)))
    lines = [json.loads(x) for x in (folder / "metrics.jsonl").read_text().splitlines()]
    synchronize(settings.device())
    return max(x["images_per_second"] for x in lines if "images_per_second" in x)


def _recipe(settings: Settings, root: Path) -> R.Recipe:
    height, width = settings.crop
    fields = settings.network(VARIANT)
    backbone = fields.pop("backbone_fields", {})
    variant, _ = fields.pop("variant"), fields.pop("num_labels")
    workers = 1 if settings.tiny else max(1, min(8, (os.cpu_count() or 1) - 1))
    return R.Recipe(
        data=R.DataRecipe(
            "street_scenes", str(root / "scenes"), crop_size=(height, width), scale=(width, height), workers=workers
        ),
        model=R.ModelRecipe(variant, backbone=None, config=fields, backbone_config=backbone),
        schedule=R.ScheduleRecipe(max_steps=settings.steps),
        evaluation=R.EvaluationRecipe(every=10_000, limit=1),
        checkpoint=R.CheckpointRecipe(every=10_000, keep_best=False),
        logging=R.LoggingRecipe(every=max(1, settings.steps // 4), pictures=0),
        global_batch=BATCH,
        micro_batch=BATCH,
        mixed_precision="bf16",
        output=str(root / "run"),
    )
