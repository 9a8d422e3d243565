"""Checkpoints that a run can be resumed from, and model folders that anybody can load."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from ..atomic_files import atomic_folder, clean_partial_writes, find_corruption, remove
from .failure import saving
from .recipe import Recipe, as_dict, differences
from .recipe_file import read_recipe
from .restoring import CheckpointError, check_compatible, read_state, reseed, restore
from .sharding import to_save

MODEL_FOLDERS = ("model", "model_ema", "best")
_NAME = "step-{:07d}"
_PATTERN = re.compile(r"step-(\d{7,})")


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
    """Write everything that resuming needs after `state["step"]` updates, then delete what is older than wanted.

    That is: the weights, their average, the optimizer's state, fp16's loss scale, each process's random generators, the
    recipe, and `state`. The learning rate and the samples to come are functions of the step (of `state["stream"]`, for
    streams). Checkpoints of later steps stay: a run that goes on from an earlier one writes them anew.
    """
    target = output_dir / "checkpoints" / _NAME.format(state["step"])
    with saving(target), atomic_folder(target, accelerator, manifest=True) as folder:
        accelerator.save_state(str(folder))
        if accelerator.is_main_process:
            (folder / "state.json").write_text(json.dumps(state, indent=2), encoding="utf-8")
            write_recipe(recipe, folder)
    if accelerator.is_main_process:
        existing = find_checkpoints(output_dir)
        for old in existing[: existing.index(target) + 1][: -recipe.checkpoint.keep_last]:
            remove(old)
    return target


def open_run(accelerator: Accelerator, resume: str | None, output_dir: Path) -> tuple[Path | None, list[str]]:
    """Where a run begins: what [`choose_checkpoint`] says, after clearing away what a crash left in `output_dir`.

    Only the main process looks, so that all agree.

    Raises:
        CheckpointError: as `choose_checkpoint`, or where a new run would write into an old one's folder.
        OSError: where the folder can't be read or cleared.
    """
    answer: list = [None]
    if accelerator.is_main_process:
        try:
            if resume is None:
                _refuse_older_run(output_dir)  # which may be going on: nothing is cleared away
            clean_partial_writes(output_dir / "checkpoints", "step-*")
            for name in MODEL_FOLDERS:
                clean_partial_writes(output_dir, name)
            answer = [(None, []) if resume is None else choose_checkpoint(resume, output_dir)]
        except (CheckpointError, OSError) as error:
            answer = [error]
    (answer,) = broadcast_object_list(answer)
    if isinstance(answer, Exception):
        raise answer
    path, damaged = answer
    return path, damaged if accelerator.is_main_process else []  # to be said once


def _refuse_older_run(output_dir: Path) -> None:
    if existing := find_checkpoints(output_dir):
        raise CheckpointError(
            f"{output_dir} holds a run that got to {existing[-1].name}: go on with --resume last, or choose "
            "another --output_dir"
        )


def choose_checkpoint(resume: str, output_dir: Path) -> tuple[Path | None, list[str]]:
    """The checkpoint that `--resume` means: `last`, `auto` (the last one, or none), or a folder.

    Returns:
        The checkpoint, whose files are as they were written; and a line for each later one that is damaged.

    Raises:
        CheckpointError: where there is none, or none that is whole.
    """
    if resume not in ("last", "auto"):
        path = Path(resume)
        if not (path / "state.json").is_file():
            raise CheckpointError(
                f"{path}: not a checkpoint (no state.json); give `last` or a folder checkpoints/step-..."
            )
        if reason := find_corruption(path):
            raise CheckpointError(
                f"{path}: damaged ({reason}): choose another; --resume last takes the last one that is whole"
            )
        return path, []
    skipped = []
    for path in reversed(find_checkpoints(output_dir)):
        if (reason := find_corruption(path)) is None:
            return path, skipped
        skipped.append(f"{path}: damaged ({reason}), so an earlier one is taken")
    if skipped:
        found = "\n  ".join(x.removesuffix(", so an earlier one is taken") for x in skipped)
        raise CheckpointError(
            f"no checkpoint is whole; remove {output_dir}/checkpoints to start anew, or choose another "
            f"--output_dir:\n  {found}"
        )
    if resume == "last":
        raise CheckpointError(f"{output_dir}/checkpoints holds no checkpoint to resume from; leave --resume out")
    return None, []


def load_checkpoint(accelerator: Accelerator, recipe: Recipe, path: Path, facts: dict | None = None) -> dict:
    """Load a checkpoint into the prepared model and optimizer.

    Args:
        facts: of this run, from [`run_fingerprint`], to compare with those of the run that wrote it.

    Returns:
        The `state` that it was saved with.

    Raises:
        CheckpointError: where it was written by a run that computes something else, or is damaged.
        ValueError, OSError: where its recipe can't be read.
    """
    theirs = read_recipe(path / "recipe.yaml")
    if found := differences(as_dict(recipe), theirs):
        raise CheckpointError(f"{path} was trained with another recipe:\n  " + "\n  ".join(found))
    state = read_state(path, recipe.schedule.max_steps)
    processes = check_compatible(accelerator, path, facts or {}, state.get("facts") or {})
    restore(accelerator, path, generators=processes == accelerator.num_processes)
    if processes != accelerator.num_processes:
        reseed(accelerator, recipe.seed, state["step"])
    return state


def own_positions(positions: list[list], accelerator: Accelerator) -> list[tuple[int, int]]:
    """This process's workers' positions in the stream, of those that a checkpoint has for all processes.

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
