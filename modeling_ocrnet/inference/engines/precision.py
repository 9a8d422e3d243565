"""Precisions, and which one a device computes fastest in."""

from __future__ import annotations

from inspect import signature
from typing import Literal

import torch

from ...common.compat import cpu_capabilities

Precision = Literal["fp32", "bf16", "fp16"]
DTYPES: dict[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


def precision_of(model) -> str:
    """The precision that a model or an engine computes in."""
    return getattr(model, "precision", None) or _NAMES[model.dtype]


def fast_precision(device: torch.device) -> Precision:
    """bf16 if the device has instructions for it, fp32 otherwise."""
    if device.type == "cpu":
        return "bf16" if cpu_has_bf16() else "fp32"
    supported = getattr(torch.get_device_module(device), "is_bf16_supported", None)
    if supported is None:
        return "fp32"
    asked = {"including_emulation": False} if "including_emulation" in signature(supported).parameters else {}
    return "bf16" if supported(**asked) else "fp32"


def cpu_has_bf16() -> bool:
    """Whether the CPU has instructions that multiply bfloat16.

    oneDNN's own answer (`torch.ops.mkldnn._is_mkldnn_bf16_supported`) is `True` on every CPU with AVX-512, even if it
    has to emulate them. Capabilities that torch 2.6 doesn't report count as missing.
    """
    if not torch.backends.mkldnn.is_available():  # only oneDNN's kernels use the instructions
        return False
    found = cpu_capabilities()
    return any(found.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"))
