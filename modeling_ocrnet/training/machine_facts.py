"""What `ocrnet configure` looks at in a machine: its device, the memory that is free, and whether bf16 is faster."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import nn

from ..common.errors import UserError

# a container's folder, its limit, what it has taken, and the line of memory.stat on cached files that give way
_CGROUPS = (  # version 2, then version 1
    ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


@dataclass(frozen=True)
class MachineFacts:
    """Facts about a machine.

    Args:
        device: the kind of device that trains, as torch calls it.
        cores: that this process may use.
        memory: gigabytes (10^9 bytes) that are free on the device, or that were given.
        given: whether they were given.
        bf16: how many times faster a convolution of bf16 is, forwards and backwards, than of float32; 0: it fails.
    """

    device: str
    cores: int
    memory: float
    given: bool = False
    bf16: float = 0.0

    @property
    def is_cpu(self) -> bool:
        return self.device == "cpu"


def look_at_machine(device: torch.device, memory: float | None = None) -> MachineFacts:
    """Look at this machine.

    Args:
        device: that trains.
        memory: gigabytes to take for granted; the free ones by default.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    free = free_memory(device) if memory is None else memory
    return MachineFacts(device.type, cores, free, memory is not None, bf16_speed(device))


def free_memory(device: torch.device) -> float:
    """Gigabytes that are free on a device; of a CPU, those that programs and the container leave.

    Raises:
        UserError: if the device can't say.
    """
    if device.type != "cpu":
        module: Any = torch.get_device_module(device)
        try:
            ask = getattr(torch.accelerator, "get_memory_info", None) or module.mem_get_info  # torch 2.6 has the second
            return ask(device)[0] / 1e9
        except (AttributeError, RuntimeError) as error:
            raise UserError(f"{device.type} can't say how much of its memory is free: give --memory GB") from error
    free = psutil.virtual_memory().available
    for folder, limit, taken, cached in _CGROUPS:
        with suppress(OSError, ValueError):  # no container, or "max"
            free = min(free, _free_in_container(Path(folder), limit, taken, cached))
    return max(0, free) / 1e9


def _free_in_container(folder: Path, limit: str, taken: str, cached: str) -> int:
    """Bytes. Files that were read, such as the data, count as taken, but make room."""
    statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    return int((folder / limit).read_text()) - int((folder / taken).read_text()) + int(statistics.get(cached, 0))


def bf16_speed(device: torch.device) -> float:
    """How many times faster a convolution of bf16 is than of float32, forwards and backwards; 0 if it fails."""
    try:
        slow, fast = (_time_convolution(device, x) for x in (torch.float32, torch.bfloat16))
    except RuntimeError:  # NotImplementedError is one
        return 0.0
    return slow / fast


def _time_convolution(device: torch.device, dtype: torch.dtype) -> float:
    """Seconds of a convolution of 64 channels, the fastest of a few."""
    layer = nn.Conv2d(64, 64, 3, padding=1).to(device, dtype).to(memory_format=torch.channels_last)
    image = torch.ones(2, 64, 64, 64, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)
    image.requires_grad_()
    seconds = []
    for _ in range(6):
        start = time.perf_counter()
        layer(image).sum().backward()
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        seconds.append(time.perf_counter() - start)
    return min(seconds)
