"""Compares training with mmsegmentation's: the losses on the same batches, from the same initial weights."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from modeling_ocrnet.common.errors import UserError
from modeling_ocrnet.common.runtime import disable_malloc_trim
from modeling_ocrnet.conversion import mmseg
from modeling_ocrnet.data.decoding import DataError
from modeling_ocrnet.interop.loss_comparison import Comparison, compare, describe, draw
from modeling_ocrnet.interop.loss_logs import read_losses
from modeling_ocrnet.training.build import Experiment, build, build_accelerator, build_batches
from modeling_ocrnet.training.loop import train_step
from modeling_ocrnet.training.recipe import DataRecipe, ModelRecipe, OptimizerRecipe, Recipe, ScheduleRecipe

PEER = Path(__file__).parent / "peers" / "mmseg_losses.py"


def loss_benchmark(
    peer: str,
    output: str,
    root: str | None = None,
    variant: str = "hr18s",
    steps: int = 100,
    batch: int = 4,
    crop_size: tuple[int, int] = (96, 192),
    lr: float = 1e-3,
) -> Comparison:
    """Train here and in mmsegmentation, on the same batches from the same weights, and compare the losses.

    Both use mmsegmentation's recipe (SGD, poly 0.9, its augmentation, applied here), in fp32, without dropout, on
    street scenes. `output` will hold both logs and the plot.

    Args:
        peer: A Python with mmsegmentation 1.x.
        output: The folder to write; it must be new or empty.
        root: Folder of street scenes (null: data/street_scenes, drawn first if it doesn't exist).
        variant: hr18s, hr18 or hr48.
        steps: Number of optimizer steps.
        batch: Images per step.
        crop_size: Height and width of the crops.
        lr: Learning rate. From scratch at the recipe's 0.01, rounding errors soon change the losses by some percent.

    Raises:
        ValueError, DataError, OSError: if the folder isn't empty, or the peer fails to train.
    """
    folder = Path(output)
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder}: holds files already; give a new folder")
    (folder / "batches").mkdir(parents=True)
    disable_malloc_trim()
    recipe = _recipe(root, variant, steps, batch, crop_size, lr, str(folder))
    experiment = build(recipe, build_accelerator(recipe))
    torch.save(mmseg.export(experiment.bare_model), folder / "initial.pth")
    ours = _train(experiment, folder)
    wanted = {"variant": variant, "steps": steps, "batch": batch, "size": crop_size, "lr": lr}
    wanted["threads"] = torch.get_num_threads()
    (folder / "peer.json").write_text(json.dumps(wanted), encoding="utf-8")
    theirs = _train_peer(peer, folder)
    comparison = compare(read_losses(ours), read_losses(theirs))
    print(describe(comparison))
    print(f"logs: {ours}, {theirs}")
    draw(comparison, folder / "losses.png")
    print(f"plot: {folder / 'losses.png'}")
    return comparison


def _recipe(
    root: str | None,
    variant: str,
    steps: int,
    batch: int,
    crop_size: tuple[int, int],
    lr: float,
    output: str,
) -> Recipe:
    return Recipe(
        data=DataRecipe(name="street_scenes", root=root, crop_size=tuple(crop_size), scale=(512, 256), workers=1),
        # contiguous as in mmsegmentation, because sums in another memory format are rounded differently
        model=ModelRecipe(variant, None, {"dropout": 0.0, "auxiliary_dropout": 0.0}, channels_last=False),
        optimizer=OptimizerRecipe(lr=lr),
        schedule=ScheduleRecipe(max_steps=steps),
        global_batch=batch,
        micro_batch=batch,
        mixed_precision="no",
        output=output,
    )


def _kept(batches: Iterator[dict], folder: Path) -> Iterator[dict]:
    """The batches; each is also written to disk for the peer."""
    for number, batch in enumerate(batches):
        arrays = {"pixel_values": batch["pixel_values"].numpy(), "labels": batch["labels"].numpy().astype(np.uint8)}
        np.savez(folder / "batches" / f"{number:06d}.npz", **arrays)
        yield batch


def _train(experiment: Experiment, folder: Path) -> Path:
    """Run all steps with the functions of the training loop; returns the log."""
    batches = _kept(build_batches(experiment, 0), folder)
    log = folder / "metrics.jsonl"
    with log.open("w", encoding="utf-8") as file:
        for step in range(experiment.recipe.schedule.max_steps):
            values = train_step(experiment, batches, step)
            file.write(json.dumps({"step": step + 1, **{key: x.item() for key, x in values.items()}}) + "\n")
    return log


def _train_peer(python: str, folder: Path) -> Path:
    # without PYTHON* variables, so that only the interpreter's own packages are imported
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    with (folder / "peer.txt").open("w") as output:
        done = subprocess.run(
            [python, str(PEER), str(folder.resolve())], stdout=output, stderr=subprocess.STDOUT, env=environment
        )
    logs = sorted((folder / "peer").glob("*/vis_data/scalars.json"))
    if done.returncode or not logs:
        last = (folder / "peer.txt").read_text(errors="replace").strip().splitlines()[-1:]
        raise DataError(f"{python} {PEER.name} ended with code {done.returncode} ({' '.join(last)}): see {output.name}")
    return logs[-1]
