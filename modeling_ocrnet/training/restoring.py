"""What a checkpoint holds, back into a run: no code in it runs, and nothing that is wrong goes by unnoticed."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedType
from accelerate.utils import load
from accelerate.utils.constants import RNG_STATE_NAME


class CheckpointError(RuntimeError):
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


def restore(accelerator: Accelerator, path: Path) -> None:
    """The weights, the optimizer's state and the random generators of the checkpoint `path`, in place.

    Pickles are read with `weights_only=True` (by `accelerator.load_state`): they can hold tensors and numbers, and
    call nothing.

    Raises:
        CheckpointError: where a file is missing, damaged, wants to run something, or is of another network.
    """
    file = path / f"{RNG_STATE_NAME}_{accelerator.process_index}.pkl"
    try:
        generators = load(file)  # accelerate would go on without it
        seed = generators["torch_manual_seed"]
    except Exception as error:  # a damaged or hostile pickle can raise anything
        raise _damaged(file, error) from error
    try:
        # to the device itself fails on some devices; DeepSpeed reads by itself and takes no such argument
        where = {} if accelerator.distributed_type == DistributedType.DEEPSPEED else {"map_location": "cpu"}
        accelerator.load_state(str(path), **where)
        misfits = [x for optimizer in accelerator._optimizers for x in _misfits(optimizer)]
    except Exception as error:  # as above, and what a network says to weights of another
        raise _damaged(path, error) from error
    if misfits:
        raise CheckpointError(f"{path}: the optimizer's state is of another network ({misfits[0]}): {_REMEDY}")
    if not torch.equal(torch.get_rng_state(), seed):
        raise CheckpointError(f"{file}: the random generators refuse what it holds: {_REMEDY}")


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
