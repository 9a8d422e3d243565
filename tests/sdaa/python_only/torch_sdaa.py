"""Stands in for Tecorigin's torch_sdaa, in Python alone: accelerate's launch path and MULTI_SDAA are real, tensors not.

With ACCELERATE_TORCH_DEVICE=cpu and ACCELERATE_BYPASS_DEVICE_MAP=true tensors stay on the CPU, and `tccl` is gloo.
"""

import sys

import torch
import torch.distributed as dist
from sdaa_interface import interface

_current = [0]
torch.sdaa = interface(lambda: _current[0], lambda index: _current.__setitem__(0, index), scaler_device="cpu")
sys.modules |= {"torch.sdaa": torch.sdaa, "torch.sdaa.amp": torch.sdaa.amp}
dist.Backend.register_backend(
    "tccl",
    lambda store, rank, size, timeout: dist.ProcessGroupGloo(store, rank, size, timeout=timeout),
    devices=["cpu"],
)
