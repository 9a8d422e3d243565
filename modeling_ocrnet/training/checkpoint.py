"""Checkpoints that a run can be resumed from, and model folders that anybody can load.

No code in a checkpoint runs, and nothing in it that is wrong goes unnoticed.
"""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from accelerate import Accelerator, DistributedType
from accelerate.utils import broadcast_object_list, load, set_seed

from ..common.atomic_files import atomic_folder, clean_partial_writes, find_corruption, remove
from ..common.compat import (
    damaged_file_errors,
    of_the_machine,
    prepared_optimizers,
    random_states_file,
    restart_accumulation,
)
from ..common.errors import reason
from .failure import saving
from .recipe import Recipe, as_dict, differences
from .recipe_file import read_recipe
from .sharding import unsharded_model
from .state import CheckpointError, TrainState, check_compatible, damaged

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


def save_checkpoint(accelerator: Accelerator, recipe: Recipe, output_dir: Path, state: TrainState) -> Path:
    """Write everything that resuming needs after `state.step` steps, then delete what is older than wanted.

    That is: the weights, their average, the optimizer's state, fp16's loss scale, each process's random generators, the
    recipe, and `state`. The learning rate and the samples to come are functions of the step (of `state.stream`, for
    streams). Checkpoints of later steps stay: a run that goes on from an earlier one writes them anew.
    """
    target = output_dir / "checkpoints" / _NAME.format(state.step)
    with saving(target), atomic_folder(target, accelerator, manifest=True) as folder:
        accelerator.save_state(str(folder))
        if accelerator.is_main_process:
            state.write(folder)
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
        CheckpointError: as `choose_checkpoint`, or if a new run would write into an old one's folder.
        OSError: if the folder can't be read or cleared.
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
            "another --output"
        )


def choose_checkpoint(resume: str, output_dir: Path) -> tuple[Path | None, list[str]]:
    """The checkpoint that `--resume` means: `last`, `auto` (the last one, or none), or a folder.

    Returns:
        The checkpoint, whose files are as they were written; and a line for each later one that is damaged.

    Raises:
        CheckpointError: if there is none, or none that is whole.
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
            f"--output:\n  {found}"
        )
    if resume == "last":
        raise CheckpointError(f"{output_dir}/checkpoints holds no checkpoint to resume from; leave --resume out")
    return None, []


def load_checkpoint(
    accelerator: Accelerator, recipe: Recipe, path: Path, fingerprint: dict | None = None
) -> TrainState:
    """Load a checkpoint into the prepared model and optimizer.

    Args:
        fingerprint: this run's, from [`run_fingerprint`], to compare with that of the run that wrote the checkpoint.

    Returns:
        The state that it was saved with.

    Raises:
        CheckpointError: if it is damaged, or was written by a run that computes something else.
        UserError: if its recipe can't be read.
    """
    theirs = read_recipe(path / "recipe.yaml")
    if found := differences(as_dict(recipe), theirs):
        raise CheckpointError(f"{path} was trained with another recipe:\n  " + "\n  ".join(found))
    state = TrainState.read(path, recipe.schedule.max_steps)
    processes = check_compatible(accelerator, path, fingerprint or {}, state.fingerprint)
    restore(accelerator, path, generators=processes == accelerator.num_processes)
    if processes != accelerator.num_processes:
        reseed(accelerator, recipe.seed, state.step)
    return state


def reseed(accelerator: Accelerator, seed: int, step: int) -> None:
    """Random generators for a run that goes on with another number of processes than wrote its checkpoint.

    The count of micro-batches starts anew too: a step has another number of them now.
    """
    set_seed(int(np.random.SeedSequence([seed, step, accelerator.process_index]).generate_state(1)[0]))
    restart_accumulation(accelerator)


def restore(accelerator: Accelerator, path: Path, generators: bool = True) -> None:
    """The weights, the optimizer's state and the random generators of the checkpoint `path`, in place.

    Args:
        generators: this process has its own in the checkpoint, which must be taken.

    Pickles are read with `weights_only=True` (by `accelerator.load_state`): they can hold tensors and numbers, and
    call nothing.

    Raises:
        CheckpointError: if a file is missing, is damaged, wants to run something, or is of another network.
    """
    file = path / random_states_file(accelerator.process_index)
    seed = None
    try:
        if generators:  # accelerate would go on without
            seed = _mapping(load(file), "torch_manual_seed")["torch_manual_seed"]
        _check_contents(path)
    except damaged_file_errors() as error:
        raise _damaged(file, error) from error
    try:
        # to the device itself fails on some devices; DeepSpeed reads by itself and takes no such argument
        where = {} if accelerator.distributed_type == DistributedType.DEEPSPEED else {"map_location": "cpu"}
        accelerator.load_state(str(path), **where)
        misfits = [x for optimizer in prepared_optimizers(accelerator) for x in _misfits(optimizer)]
    except damaged_file_errors() as error:  # a RuntimeError is also what a network says to weights of another
        if of_the_machine(error):
            raise
        raise _damaged(path, error) from error
    if misfits:
        raise damaged(path, f"the optimizer's state is of another network: {misfits[0]}")
    if seed is not None and not torch.equal(torch.get_rng_state(), seed):
        raise damaged(file, "the random generators refuse what it holds")


def _check_contents(path: Path) -> None:
    """Refuse files that hold something else than state dicts, which torch would fail on as on a bug of ours."""
    patterns = ("optimizer*.bin", "pytorch_model*.bin", "custom_checkpoint_*.pkl", "scaler.pt")
    for file in (file for pattern in patterns for file in path.glob(pattern)):
        try:
            content = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
            _mapping(content, *(("state", "param_groups") if file.name.startswith("optimizer") else ()))
        except damaged_file_errors() as error:
            raise _damaged(file, error) from error


def _mapping(content: Any, *keys: str) -> dict:
    if not isinstance(content, dict) or not all(key in content for key in keys):
        raise ValueError(f"it holds a {type(content).__name__}, expected a dict {' and '.join(keys)}".strip())
    return content


def _misfits(optimizer: torch.optim.Optimizer) -> list[str]:
    return [
        f"{name} of {tuple(value.shape)} for a parameter of {tuple(parameter.shape)}"
        for parameter, state in optimizer.state.items()
        for name, value in state.items()
        if isinstance(value, torch.Tensor) and value.ndim and value.shape != parameter.shape
    ]


def _damaged(path: Path, error: Exception) -> CheckpointError:
    if isinstance(error, pickle.UnpicklingError):
        return damaged(path, "it holds more than tensors and numbers; nothing in it was run")
    return damaged(path, reason(error, 200))


def save_model(accelerator: Accelerator, model, processor, recipe: Recipe, target: Path, metrics: dict) -> None:
    """A folder for `from_pretrained`: weights, config, code, processor, the recipe as run, and `metrics.json`."""
    model = unsharded_model(accelerator, model)
    with saving(target), atomic_folder(target, accelerator) as folder:
        if accelerator.is_main_process:
            model.save_pretrained(folder)
            processor.save_pretrained(folder)
            write_recipe(recipe, folder)
            (folder / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
