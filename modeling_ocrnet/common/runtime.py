"""Settings for a process that computes on a CPU: glibc's allocator, and the number of threads."""

from __future__ import annotations

import ctypes
import os
import platform
from functools import cache

import psutil
import torch

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


@cache  # the setting lasts for the life of the process
def disable_malloc_trim() -> bool:
    """Keep freed activations in the process instead of returning them to the kernel.

    By default glibc maps and unmaps large activations at every step, and the kernel zeroes their pages each time. The
    environment variables MALLOC_MMAP_THRESHOLD_ and MALLOC_TRIM_THRESHOLD_ have the same effect.

    Call it after the first step. Long-lived memory (the optimizer's state, prepared kernels) then lies together.
    Scattered between activations, it would leave gaps that are too small for the next activations.

    Returns:
        Whether the C library is glibc and accepted both settings.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_M_MMAP_THRESHOLD, 2**30)) and bool(mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))


def use_all_cores(device: torch.device) -> None:
    """Give a process that computes on the CPU its share of the cores.

    `accelerate launch` sets OMP_NUM_THREADS to 1 by default (see --num_cpu_threads_per_process), so the process would
    use one core. Any other value was set on purpose and is kept.
    """
    if device.type != "cpu" or os.environ.get("OMP_NUM_THREADS", "1") != "1":
        return
    cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = min(cores, len(os.sched_getaffinity(0)))
    torch.set_num_threads(max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", 1))))
