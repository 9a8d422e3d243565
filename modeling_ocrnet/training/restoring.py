"""What a checkpoint holds, back into a run: no code in it runs, and nothing that is wrong goes by unnoticed."""

from __future__ import annotations

import hashlib
import json
import logging
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, DistributedType
from accelerate.utils import load, set_seed
from datasets import Dataset, IterableDataset

from ..compat import damaged_file_errors, of_the_machine, prepared_optimizers, random_states_file, restart_accumulation
from ..data.labels import LabelSet
from ..errors import UserError

logger = logging.getLogger("modeling_ocrnet.training")


class CheckpointError(UserError, RuntimeError):
    """A checkpoint isn't there, is damaged, or doesn't belong to this run."""


def read_state(path: Path, max_steps: int) -> dict[str, Any]:
    """`state.json` of the checkpoint `path`: the update that it was saved after, and the scores so far.

    Raises:
        CheckpointError: where it isn't as a run writes it.
    """
    file = path / "state.json"
    try:
        state = json.loads(file.read_text(encoding="utf-8"))
        step, best = state["step"], state["best"]
        if type(step) is not int or not 0 <= step <= max_steps:
            raise ValueError(f"step is {step!r}, expected 0 to {max_steps}")
        if best is not None and not isinstance(best["mean_iou"], float | int):
            raise ValueError(f"best is {best!r}")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(file, error) from error
    return state


def run_fingerprint(accelerator: Accelerator, data: Dataset | IterableDataset, labels: LabelSet) -> dict[str, Any]:
    """What a run depends on beside its recipe, for `state.json`: processes, precision, and a digest of its data.

    The digest is of classes and frames' names (not of streams' frames): files may move, but not be others.
    """
    digest = hashlib.sha256(repr((labels.labels, labels.flip_pairs)).encode())
    facts = {"processes": accelerator.num_processes, "precision": accelerator.mixed_precision}
    if isinstance(data, Dataset):
        facts["frames"] = len(data)
        digest.update("\0".join(data.with_format(None)["name"][:]).encode())
    return {**facts, "data": digest.hexdigest()}


def check_compatible(accelerator: Accelerator, path: Path, ours: dict, theirs: dict) -> int:
    """Compare [`run_fingerprint`] of this run with those of the one that wrote the checkpoint `path`.

    Another number of processes computes nearly the same; that it isn't the same to the bit is said in a warning.

    Returns:
        The number of processes that wrote it.

    Raises:
        CheckpointError: where this run would compute something else.
    """
    known = ours.keys() & theirs.keys()
    if "precision" in known and ours["precision"] != theirs["precision"]:
        raise CheckpointError(
            f"{path} was trained with mixed precision {theirs['precision']}, now it is {ours['precision']}: launch "
            f"with --mixed_precision {theirs['precision']}"
        )
    if "data" in known and ours["data"] != theirs["data"]:
        raise CheckpointError(
            f"{path} was trained on other data: the training split's frames or classes have changed "
            f"({theirs.get('frames')} frames in the checkpoint, now {ours.get('frames')}), and with them the order of "
            "the samples: restore them, or start a new run in another --output_dir"
        )
    now, then = accelerator.num_processes, theirs.get("processes", accelerator.num_processes)
    if now != then and accelerator.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED):
        raise CheckpointError(f"{path} is shared out among {then} processes, now there are {now}: launch {then}")
    if now != then and accelerator.is_main_process:
        logger.warning(
            "%s was written by %d process%s, now there are %d: the samples and their order stay, but batch norm's "
            "statistics and dropout will differ from those of an uninterrupted run; launch %d for the same to the bit",
            path,
            then,
            "" if then == 1 else "es",
            now,
            then,
        )
    return then


def reseed(accelerator: Accelerator, seed: int, step: int) -> None:
    """Random generators for a run that goes on with another number of processes than wrote its checkpoint.

    The count of micro-batches starts anew too: an update has another number of them now.
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
        CheckpointError: where a file is missing, damaged, wants to run something, or is of another network.
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
        raise CheckpointError(f"{path}: the optimizer's state is of another network ({misfits[0]}): {_REMEDY}")
    if seed is not None and not torch.equal(torch.get_rng_state(), seed):
        raise CheckpointError(f"{file}: the random generators refuse what it holds: {_REMEDY}")


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


_REMEDY = "resume from another checkpoint of the run"


def _misfits(optimizer: torch.optim.Optimizer) -> list[str]:
    return [
        f"{name} of {tuple(value.shape)} for a parameter of {tuple(parameter.shape)}"
        for parameter, state in optimizer.state.items()
        for name, value in state.items()
        if isinstance(value, torch.Tensor) and value.ndim and value.shape != parameter.shape
    ]


def _damaged(file: Path, error: Exception) -> CheckpointError:
    if isinstance(error, pickle.UnpicklingError):
        reason = "it holds more than tensors and numbers; nothing in it was run"
    else:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
    return CheckpointError(f"{file}: can't be resumed from ({reason}): {_REMEDY}")
