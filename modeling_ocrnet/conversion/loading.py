"""Reads checkpoint files without running any code that they may hold."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file

from ..common.errors import FileError, MissingFileError, UserError, reason
from .unpickling import UnsafePickleError, load_tensors_only

# the keys under which training programs store the weights in their checkpoints
_WRAPPERS = ("state_dict", "model_state_dict", "model")


@dataclass(frozen=True)
class Checkpoint:
    """A file's weights under their original names, and the file's other entries (`meta`, epochs, an optimizer ...)."""

    path: Path
    state: dict[str, torch.Tensor]
    extras: dict = field(default_factory=dict)


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a .safetensors file, or any file written by `torch.save`. No code in the file runs.

    Args:
        path: the file. Pickles are read with `weights_only=True`; if that fails, with an unpickler that rebuilds
            only tensors.

    Raises:
        MissingFileError: if there is no such file.
        UserError: if it isn't a checkpoint, is damaged, or holds a pickle that would run code.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file")
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                content, extras = load_file(path), dict(file.metadata() or {})
        else:
            content, extras = _load_pickle(path), {}
    except UnsafePickleError as error:
        raise UserError(
            f"{path}: refused: {error}, which no file of weights does. Nothing was run. If you trust its author, ask "
            "for the state dict alone, as .safetensors"
        ) from error
    except OSError as error:
        raise FileError(f"{path}: can't be read ({reason(error)})") from error
    except Exception as error:  # a damaged or hostile pickle can raise anything, also from C code that our lines call
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{path}: not a file of weights, or damaged ({first})") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a {type(content).__name__}, expected a state dict")
    wrapper = next((x for x in _WRAPPERS if isinstance(content.get(x), dict)), None)
    state: Any = content if wrapper is None else content[wrapper]
    strangers = [key for key, value in state.items() if not isinstance(value, torch.Tensor)]
    if strangers or not state:
        found = f"{strangers[0]!r}, a {type(state[strangers[0]]).__name__}," if strangers else "nothing"
        raise UserError(
            f"{path}: found {found} where weights should be; expected a state dict, or a checkpoint with one"
        )
    if hollow := [key for key, value in state.items() if not _is_whole(value)]:
        raise UserError(f"{path}: {hollow[0]} isn't a dense array whose values are all in the file, as weights are")
    if wrapper is not None:
        extras = {key: value for key, value in content.items() if key != wrapper}
    return Checkpoint(path, dict(state), extras)


def _is_whole(tensor: torch.Tensor) -> bool:
    """Whether all values of a tensor are in memory. With strides of 0, a file of one value can claim any size."""
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
        return False
    return tensor.untyped_storage().nbytes() >= tensor.numel() * tensor.element_size()


def _load_pickle(path: Path):
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:  # the file holds objects other than tensors
        return load_tensors_only(path)
