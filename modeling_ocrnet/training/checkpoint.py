"""Write and read checkpoints, from which a run can be resumed, and model folders, for `from_pretrained`.

Loading a checkpoint runs no code from it, and checks all of its content.
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
from .extension import check_recipe
from .failure import saving
from .recipe import Recipe, as_dict
from .sharding import unsharded_model
from .state import CheckpointError, TrainState, check_compatible, damaged, not_a_checkpoint

MODEL_FOLDERS = ("model", "model_ema", "best", "adapter", "adapter_ema", "adapter_best")
_NAME = "step-{:07d}"
_PATTERN = re.compile(r"step-(\d{7,})")


def write_recipe(recipe: Recipe, folder: Path) -> None:
    """Write the recipe of the run to `recipe.yaml`, which `--config` can read."""
    text = yaml.safe_dump(as_dict(recipe), sort_keys=False, default_flow_style=None)
    (folder / "recipe.yaml").write_text(text, encoding="utf-8")


def find_checkpoints(output_dir: Path) -> list[Path]:
    """The run's checkpoints, oldest first."""
    folder = output_dir / "checkpoints"
    return sorted((x for x in folder.glob("step-*") if _PATTERN.fullmatch(x.name)), key=_step_of)


def _step_of(path: Path) -> int:
    """The step in a checkpoint's name; 0 if its folder was renamed."""
    match = _PATTERN.fullmatch(path.name)
    return int(match[1]) if match else 0


def save_checkpoint(accelerator: Accelerator, recipe: Recipe, output_dir: Path, state: TrainState) -> Path:
    """Write a checkpoint of step `state.step`, then delete all but the last `checkpoint.keep_last` up to this step.

    It holds the weights, their average, the optimizer's state, fp16's loss scale, each process's random generators, the
    recipe, `state`, and what `network.py` keeps. The learning rate and the next samples are functions of the step (of
    `state.stream`, for streams). Checkpoints of later steps stay: a run that is resumed from an earlier one overwrites
    them.
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


def open_run(
    accelerator: Accelerator, resume: str | None, output_dir: Path, extend: bool = False
) -> tuple[Path | None, list[str]]:
    """Delete partial files that a crash left in `output_dir`, and choose where the run begins.

    Only the main process reads the folder, so that all processes agree.

    Returns:
        The result of [`choose_checkpoint`]; `None` without a message for a new run. Only the main process gets the
        messages, so that they are logged once.

    Raises:
        CheckpointError: as `choose_checkpoint`, or if a new run would write into an old one's folder.
        OSError: if the folder can't be read, or files can't be deleted.
    """
    answer: list = [None]
    if accelerator.is_main_process:
        try:
            if resume is None:
                _refuse_older_run(output_dir)  # it may still be running, so this comes before anything is deleted
            clean_partial_writes(output_dir / "checkpoints", "step-*")
            for name in MODEL_FOLDERS:
                clean_partial_writes(output_dir, name)
            answer = [(None, []) if resume is None else choose_checkpoint(resume, output_dir, extend)]
        except (CheckpointError, OSError) as error:
            answer = [error]
    (answer,) = broadcast_object_list(answer)
    if isinstance(answer, Exception):
        raise answer
    path, damaged = answer
    return path, damaged if accelerator.is_main_process else []


def _refuse_older_run(output_dir: Path) -> None:
    if existing := find_checkpoints(output_dir):
        raise CheckpointError(
            f"{output_dir} holds a run that got to {existing[-1].name}: go on with --resume last, or choose "
            "another --output"
        )


def choose_checkpoint(resume: str, output_dir: Path, extend: bool = False) -> tuple[Path | None, list[str]]:
    """Find the checkpoint that `--resume` selects: `last`, `auto` (the last one, or none), or a folder.

    With `extend`, a folder must be the run's last one: later ones belong to the shorter run, and the next `--resume
    last` would take them.

    Returns:
        The checkpoint, with its files as they were written, and one message for each later one that is damaged.

    Raises:
        CheckpointError: if there is none, all are damaged, or a later one is in the way of an extension.
    """
    if resume not in ("last", "auto"):
        path = Path(resume)
        if not (path / "state.json").is_file():
            raise not_a_checkpoint(path)
        if reason := find_corruption(path):
            raise CheckpointError(
                f"{path}: damaged ({reason}): choose another; --resume last takes the last intact one"
            )
        if extend and (later := [x for x in find_checkpoints(output_dir) if _step_of(x) > _step_of(path)]):
            raise CheckpointError(
                f"{path}: --extend goes on from the end of a run, and {later[-1]} is later: give --resume last, or "
                "another --output for a run of its own"
            )
        return path, []
    skipped: list[str] = []
    for path in reversed(find_checkpoints(output_dir)):
        if (reason := find_corruption(path)) is None:
            return path, skipped
        skipped.append(f"{path}: damaged ({reason}), so an earlier one is used")
    if skipped:
        found = "\n  ".join(x.removesuffix(", so an earlier one is used") for x in skipped)
        raise CheckpointError(
            f"no checkpoint is intact; remove {output_dir}/checkpoints to start again, or choose another "
            f"--output:\n  {found}"
        )
    if resume == "last":
        raise CheckpointError(f"{output_dir}/checkpoints holds no checkpoint to resume from; leave --resume out")
    return None, []


def load_checkpoint(
    accelerator: Accelerator,
    recipe: Recipe,
    path: Path,
    fingerprint: dict | None = None,
    extend: bool = False,
    by_steps: bool = True,
) -> TrainState:
    """Load a checkpoint into the prepared model and optimizer.

    Args:
        accelerator: the accelerator that prepared them.
        recipe: this run's recipe, which is compared with the checkpoint's.
        path: the checkpoint's folder.
        fingerprint: this run's fingerprint, from [`run_fingerprint`], which is compared with the checkpoint's.
        extend: whether this run may be longer than the one that wrote the checkpoint.
        by_steps: whether the recipe's steps are the run's length, and not so many minutes.

    Returns:
        The state that was saved with it.

    Raises:
        CheckpointError: if it is damaged, or the run that wrote it computes something else than this one.
        UserError: if its recipe can't be read.
    """
    check_recipe(recipe, path, extend, by_steps)
    state = TrainState.read(path, recipe.schedule.max_steps)
    processes = check_compatible(accelerator, path, fingerprint or {}, state.fingerprint)
    restore(accelerator, path, generators=processes == accelerator.num_processes)
    if processes != accelerator.num_processes:
        reseed(accelerator, recipe.seed, state.step)
    return state


def reseed(accelerator: Accelerator, seed: int, step: int) -> None:
    """Seed the random generators of a run that is resumed with a different number of processes.

    This also restarts the count of micro-batches, because a step has a different number of them now.
    """
    set_seed(int(np.random.SeedSequence([seed, step, accelerator.process_index]).generate_state(1)[0]))
    restart_accumulation(accelerator)


def restore(accelerator: Accelerator, path: Path, generators: bool = True) -> None:
    """Load the weights, the optimizer's state and the random generators of a checkpoint, in place.

    Pickles are read with `weights_only=True` (by `accelerator.load_state`): they can hold tensors and numbers, and
    can't call anything.

    Args:
        accelerator: the accelerator that prepared model and optimizer.
        path: the checkpoint's folder.
        generators: whether to load this process's random generators.

    Raises:
        CheckpointError: if a file is missing or damaged, would run code, or belongs to another network.
    """
    file = path / random_states_file(accelerator.process_index)
    seed = None
    try:
        if generators:  # accelerate would ignore a missing file
            seed = _mapping(load(file), "torch_manual_seed")["torch_manual_seed"]
        _check_contents(path)
    except damaged_file_errors() as error:
        raise _damaged(file, error) from error
    try:
        # loading directly to the device fails on some devices; DeepSpeed loads by itself, without `map_location`
        where = {} if accelerator.distributed_type == DistributedType.DEEPSPEED else {"map_location": "cpu"}
        accelerator.load_state(str(path), **where)
        misfits = [x for optimizer in prepared_optimizers(accelerator) for x in _misfits(optimizer)]
    except damaged_file_errors() as error:  # torch raises a RuntimeError for weights of another network
        if of_the_machine(error):
            raise
        raise _damaged(path, error) from error
    if misfits:
        raise damaged(path, f"the optimizer's state belongs to another network: {misfits[0]}")
    if seed is not None and not torch.equal(torch.get_rng_state(), seed):
        raise damaged(file, "its content doesn't fit the random generators")


def _check_contents(path: Path) -> None:
    """Check that files hold state dicts. Others would make torch raise errors that look like bugs."""
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
        f"{name} has shape {tuple(value.shape)}, its parameter {tuple(parameter.shape)}"
        for parameter, state in optimizer.state.items()
        for name, value in state.items()
        if isinstance(value, torch.Tensor) and value.ndim and value.shape != parameter.shape
    ]


def _damaged(path: Path, error: Exception) -> CheckpointError:
    if isinstance(error, pickle.UnpicklingError):
        return damaged(path, "it holds something other than tensors and numbers; no code from it was run")
    return damaged(path, reason(error, 200))


def save_model(accelerator: Accelerator, model, processor, recipe: Recipe, target: Path, metrics: dict) -> None:
    """Write a folder for `from_pretrained`: weights, config, code, processor, the run's recipe and `metrics.json`."""
    model = unsharded_model(accelerator, model)
    with saving(target), atomic_folder(target, accelerator) as folder:
        if accelerator.is_main_process:
            model.save_pretrained(folder)
            processor.save_pretrained(folder)
            write_recipe(recipe, folder)
            (folder / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
