"""PyTorch: a `torch.export` program, which needs none of this package's code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from .precision import DTYPES


def program(path: Path) -> Callable[[Tensor], Tensor]:
    """A program's file, ready to run."""
    module = torch.export.load(path).module()
    return lambda images: module(images)  # as a submodule it would refuse eval()


def open_file(path: Path, made_in: str, _wanted: str | None) -> tuple[Callable[[Tensor], Tensor], torch.dtype]:
    """See `engine.Format`."""
    return program(path), DTYPES[made_in]
