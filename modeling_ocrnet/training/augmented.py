"""The first samples that a recipe's training sees, drawn on a sheet."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from accelerate import Accelerator

from .. import data
from ..common.atomic_files import atomic_write
from ..common.errors import UserError
from ..data.normalization import FIELDS, Normalization
from ..preparation.sample_sheet import Sample, sample_sheet
from .build import Experiment, build_batches, check_class_names
from .build_model import build_processor, read_start
from .build_order import build_order
from .recipe import Recipe

MOST = 200  # samples on a sheet: they are held in memory


def write_augmented_sheet(recipe: Recipe, count: int, folder: str) -> Path:
    """Draw the first samples of a run: augmented as the recipe says, in the order of training on one process.

    Args:
        recipe: of the run.
        count: number of samples, those of the positions 0 to `count` - 1.
        folder: where the sheet is written, as `<name of the dataset>_augmented.png`.

    Returns:
        The file.

    Raises:
        UserError: if the recipe or its data can't be used, as when it is trained.
    """
    if not 1 <= count <= MOST:
        raise UserError(f"--augmented must be a number of samples from 1 to {MOST}, got {count}")
    labels = data.label_set(recipe.data)
    check_class_names(recipe, labels)
    samples = list(itertools.islice(_samples(recipe, labels), count))
    height, width = recipe.data.crop_size
    lines = [
        f"{recipe.data.title}, {recipe.data.split}: the first {len(samples)} samples as training sees them, "
        f"{height}x{width}, sampler {recipe.sampler.name}, seed {recipe.seed}",
        "augmentations: " + ("; ".join(map(_described, recipe.data.augmentations)) or "none listed"),
    ]
    path = Path(folder) / f"{recipe.data.name}_augmented.png"
    with atomic_write(path) as part:
        sample_sheet(samples, labels, lines).save(part, "PNG")
    return path


def _samples(recipe: Recipe, labels: data.LabelSet) -> Iterator[Sample]:
    """Endlessly, by the code that feeds training; only what takes place on a device is left out."""
    if not recipe.data.streaming:  # a sample doesn't depend on who makes it; in a stream it does
        recipe = replace(recipe, data=replace(recipe.data, workers=0))
    accelerator = Accelerator(cpu=True)
    accelerator.gradient_accumulation_steps = recipe.accumulation_steps(accelerator.num_processes)
    if recipe.data.streaming:
        rows = data.hub.stream(recipe.data, recipe.data.split)
    else:
        rows = data.load(recipe.data, split=recipe.data.split)
    processor = build_processor(recipe, labels.ignore, read_start(recipe))
    experiment = Experiment(recipe, accelerator, labels, rows, None, None, processor)  # type: ignore[arg-type]
    experiment.order = build_order(recipe, accelerator, labels, rows)
    if recipe.data.streaming:
        experiment.positions = [(0, 0)] * max(1, recipe.data.workers)
    normalization = Normalization.of({name: getattr(processor, name) for name in FIELDS})
    batches, position = build_batches(experiment, start=0), 0
    try:
        for batch in batches:
            for pixels, label, name in zip(batch["pixel_values"], batch["labels"], batch["names"], strict=True):
                image = normalization.undo(pixels.numpy())
                yield Sample(f"{position}: {name}", image, label.numpy().astype(labels.dtype))
                position += 1
    finally:
        batches.close()


def _described(entry: dict) -> str:
    """An entry of the recipe on one line: `rotate, degrees 10`."""
    fields = [f"{key} {', '.join(x) if isinstance(x, list) else x}" for key, x in entry.items() if key != "name"]
    return ", ".join([entry["name"], *fields])
