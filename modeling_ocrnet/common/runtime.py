"""What a process that computes on a CPU sets once: glibc's allocator, and its threads."""

from __future__ import annotations

import ctypes
import os
import platform
from functools import cache

import psutil
import torch

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


@cache  # it holds for good
def disable_malloc_trim() -> bool:
    """Let freed activations stay with the process instead of going back to the kernel.

    On a CPU, large activations are mapped and unmapped at every step, and the kernel zeroes their pages anew each
    time. The environment variables MALLOC_MMAP_THRESHOLD_ and MALLOC_TRIM_THRESHOLD_ do the same from outside.

    Best called after the first step: what stays for good (the optimizer's state, prepared kernels) then lies together,
    not scattered between activations, where it would leave gaps that are too small for the next ones.

    Returns:
        Whether the C library is glibc and took both settings.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_M_MMAP_THRESHOLD, 2**30)) and bool(mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))


def use_all_cores(device: torch.device) -> None:
    """Give a process that computes on the CPU its share of the cores.

    `accelerate launch` sets OMP_NUM_THREADS to 1 unless told otherwise (--num_cpu_threads_per_process), which leaves
    a process on a CPU with one core. Any other value is somebody's wish and stays.
    """
    if device.type != "cpu" or os.environ.get("OMP_NUM_THREADS", "1") != "1":
        return
    cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = min(cores, len(os.sched_getaffinity(0)))
    torch.set_num_threads(max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", 1))))
