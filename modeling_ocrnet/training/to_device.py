"""Copy batches to the device."""

from __future__ import annotations

from functools import cache

import torch


@cache
def can_pin(device: torch.device) -> bool:
    """Whether host memory can be pinned for a device. Not every torch device has an allocator for pinned memory."""
    if device.type == "cpu":
        return False
    try:
        torch.empty(1).pin_memory()
    except RuntimeError:  # NotImplementedError is one
        return False
    return True


@cache
def copies_in_background(device: torch.device) -> bool:
    """Whether a device can copy to and from pinned memory while it computes, with streams and events."""
    if not can_pin(device):
        return False
    try:
        torch.Stream(device)
        torch.Event(device).record()
    except RuntimeError:  # NotImplementedError is one
        return False
    return True


class ToDevice:
    """Copies a batch to the device while the device computes on the previous one, if it can.

    The copies have a separate stream. The computation's stream waits for it; the host doesn't wait.
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
            x.record_stream(computing)  # otherwise the next copy could reuse its memory too early
        return copies
