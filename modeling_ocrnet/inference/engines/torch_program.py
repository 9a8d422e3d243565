"""The PyTorch engine for `torch.export` programs, which need none of this package's code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from .precision import DTYPES


def program(path: Path) -> Callable[[Tensor], Tensor]:
    """Load a program's file as a function from images to logits."""
    module = torch.export.load(path).module()
    return lambda images: module(images)  # not as a submodule, because its eval() raises


def open_file(path: Path, made_in: str, _wanted: str | None) -> tuple[Callable[[Tensor], Tensor], torch.dtype]:
    """See `engine.Format`."""
    return program(path), DTYPES[made_in]
