"""The ONNX Runtime engine, on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from ...common.optional import import_optional
from .program import INPUT


def open_file(path: Path, _made_in: str, _wanted: str | None) -> tuple[Callable[[Tensor], Tensor], torch.dtype]:
    """See `engine.Format`."""
    session = import_optional("onnxruntime").InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(pixel_values: Tensor) -> Tensor:
        (logits,) = session.run(None, {INPUT: pixel_values.contiguous().numpy()})
        return torch.from_numpy(logits)

    return run, torch.float32
