"""Training on a CPU at the speed that it has: its cores, and glibc's allocator."""

from __future__ import annotations

import ctypes
import os
import platform

import psutil
import torch
from accelerate import Accelerator

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def use_all_cores(accelerator: Accelerator) -> None:
    """Give a process that computes on the CPU its share of the cores.

    `accelerate launch` sets OMP_NUM_THREADS to 1 unless told otherwise (--num_cpu_threads_per_process), which leaves
    a process on a CPU with one core. Any other value is somebody's wish and stays.
    """
    if accelerator.device.type != "cpu" or os.environ.get("OMP_NUM_THREADS", "1") != "1":
        return
    cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = min(cores, len(os.sched_getaffinity(0)))
    torch.set_num_threads(max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", 1))))


def keep_freed_memory() -> bool:
    """Let freed activations stay with the process instead of going back to the kernel.

    On a CPU, large activations are mapped and unmapped at every step, and the kernel zeroes their pages anew each
    time. The environment variables MALLOC_MMAP_THRESHOLD_ and MALLOC_TRIM_THRESHOLD_ do the same from outside.

    Returns:
        Whether the C library is glibc and took both settings.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_M_MMAP_THRESHOLD, 2**30)) and bool(mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
