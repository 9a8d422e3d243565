"""Batches on their way to the device."""

from __future__ import annotations

from functools import cache

import torch


@cache
def can_pin(device: torch.device) -> bool:
    """Whether host memory can be pinned for a device: not every one that torch knows brings an allocator for it."""
    if device.type == "cpu":
        return False
    try:
        torch.empty(1).pin_memory()
    except RuntimeError:  # NotImplementedError is one
        return False
    return True


@cache
def copies_in_background(device: torch.device) -> bool:
    """Whether a device copies to and from pinned memory while it computes, and says when it is done."""
    if not can_pin(device):
        return False
    try:
        torch.Stream(device)
        torch.Event(device).record()
    except RuntimeError:  # NotImplementedError is one
        return False
    return True


class ToDevice:
    """Copies batches to the device while it still computes on the one before, if it can.

    The copies have a stream of their own, for which the computation waits; the host waits for neither.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.stream = torch.Stream(device) if copies_in_background(device) else None

    def __call__(self, *tensors: torch.Tensor) -> list[torch.Tensor]:
        if self.stream is None:
            return [x.to(self.device, non_blocking=True) for x in tensors]
        computing = torch.accelerator.current_stream(self.device)
        torch.accelerator.set_stream(self.stream)
        try:
            copies = [x.to(self.device, non_blocking=True) for x in tensors]
        finally:
            torch.accelerator.set_stream(computing)
        computing.wait_stream(self.stream)
        for x in copies:
            x.record_stream(computing)  # or its memory would be given to the next batch's copy too early
        return copies
