"""Checkpoints that a run can be resumed from, and model folders that anybody can load."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import yaml
from accelerate import Accelerator

from .failure import saving
from .recipe import Recipe, as_dict, differences
from .recipe_file import read_recipe
from .restoring import CheckpointError, read_state, restore
from .sharding import to_save

_NAME = "step-{:07d}"
_PATTERN = re.compile(r"step-(\d{7,})")


@contextlib.contextmanager
def atomic_folder(target: Path, accelerator: Accelerator) -> Iterator[Path]:
    """A folder to write into that becomes `target` when the block ends without an error, on all processes."""
    temporary = target.with_name(f".{target.name}.tmp")
    if accelerator.is_main_process:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
    accelerator.wait_for_everyone()
    yield temporary
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        old = target.with_name(f".{target.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        if target.exists():
            os.replace(target, old)
        os.replace(temporary, target)
        shutil.rmtree(old, ignore_errors=True)
    accelerator.wait_for_everyone()


def write_recipe(recipe: Recipe, folder: Path) -> None:
    """The recipe as run, as `recipe.yaml`: `--config` reads it."""
    text = yaml.safe_dump(as_dict(recipe), sort_keys=False, default_flow_style=None)
    (folder / "recipe.yaml").write_text(text, encoding="utf-8")


def find_checkpoints(output_dir: Path) -> list[Path]:
    """The run's checkpoints, oldest first."""
    folder = output_dir / "checkpoints"
    found = [(int(match[1]), path) for path in folder.glob("step-*") if (match := _PATTERN.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


def save_checkpoint(accelerator: Accelerator, recipe: Recipe, output_dir: Path, state: dict) -> Path:
    """Write everything that resuming needs after `state["step"]` updates, then delete what is older than wanted."""
    target = output_dir / "checkpoints" / _NAME.format(state["step"])
    with saving(target), atomic_folder(target, accelerator) as folder:
        accelerator.save_state(str(folder))
        if accelerator.is_main_process:
            (folder / "state.json").write_text(json.dumps(state, indent=2), encoding="utf-8")
            write_recipe(recipe, folder)
    if accelerator.is_main_process:
        for old in find_checkpoints(output_dir)[: -recipe.checkpoint.keep_last]:
            shutil.rmtree(old)
    return target


def choose_checkpoint(resume: str | None, output_dir: Path) -> Path | None:
    """The checkpoint that `--resume` means: `last`, `auto` (the last one, or none), a folder, or `None`.

    Raises:
        CheckpointError: where there is none, or where a new run would write into an old one's folder.
    """
    existing = find_checkpoints(output_dir)
    if resume is None:
        if existing:
            raise CheckpointError(
                f"{output_dir} holds a run that got to {existing[-1].name}: go on with --resume last, or choose "
                "another --output_dir"
            )
        return None
    if resume in ("last", "auto"):
        if not existing and resume == "last":
            raise CheckpointError(f"{output_dir}/checkpoints holds no checkpoint to resume from; leave --resume out")
        return existing[-1] if existing else None
    path = Path(resume)
    if not (path / "state.json").is_file():
        raise CheckpointError(f"{path}: not a checkpoint (no state.json); give `last` or a folder checkpoints/step-...")
    return path


def load_checkpoint(accelerator: Accelerator, recipe: Recipe, path: Path) -> dict:
    """Load a checkpoint into the prepared model and optimizer.

    Returns:
        The `state` that it was saved with.

    Raises:
        CheckpointError: where it was written under a recipe that computes something else, or is damaged.
        ValueError, OSError: where its recipe can't be read.
    """
    theirs = read_recipe(path / "recipe.yaml")
    if found := differences(as_dict(recipe), theirs):
        raise CheckpointError(f"{path} was trained with another recipe:\n  " + "\n  ".join(found))
    state = read_state(path, recipe.schedule.max_steps)
    restore(accelerator, path)
    return state


def own_positions(positions: list[list], accelerator: Accelerator) -> list[tuple[int, int]]:
    """This process's readers' positions in the stream, of those that a checkpoint has for all processes.

    Raises:
        CheckpointError: where there were more or fewer processes.
    """
    if len(positions) != accelerator.num_processes:
        raise CheckpointError(
            f"{len(positions)} processes shared the stream in the checkpoint, now there are "
            f"{accelerator.num_processes}: resume with as many"
        )
    return [tuple(x) for x in positions[accelerator.process_index]]


def save_model(accelerator: Accelerator, model, processor, recipe: Recipe, target: Path, metrics: dict) -> None:
    """A folder for `from_pretrained`: weights, config, code, processor, the recipe as run, and `metrics.json`."""
    model = to_save(accelerator, model)
    with saving(target), atomic_folder(target, accelerator) as folder:
        if accelerator.is_main_process:
            model.save_pretrained(folder)
            processor.save_pretrained(folder)
            write_recipe(recipe, folder)
            (folder / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
