"""In which numbers a machine computes fastest."""

from __future__ import annotations

from inspect import signature
from typing import Literal

import torch

from ...common.compat import cpu_capabilities

Precision = Literal["fp32", "bf16", "fp16"]
DTYPES: dict[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


def precision_of(model) -> str:
    """In what a model or an engine computes."""
    return getattr(model, "precision", None) or _NAMES[model.dtype]


def fast_precision(device: torch.device) -> Precision:
    """bf16 where the device has instructions for it, else fp32."""
    if device.type == "cpu":
        return "bf16" if cpu_has_bf16() else "fp32"
    supported = getattr(torch.get_device_module(device), "is_bf16_supported", None)
    if supported is None:
        return "fp32"
    asked = {"including_emulation": False} if "including_emulation" in signature(supported).parameters else {}
    return "bf16" if supported(**asked) else "fp32"


def cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bfloat16 by instructions of its own.

    oneDNN's own answer (`torch.ops.mkldnn._is_mkldnn_bf16_supported`) is yes on every CPU with AVX-512, also where it
    has to emulate. What torch 2.6 can't tell counts as no.
    """
    if not torch.backends.mkldnn.is_available():  # the instructions are there for oneDNN's kernels
        return False
    found = cpu_capabilities()
    return any(found.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"))
