"""Training on all the cores of a CPU."""

from __future__ import annotations

import os

import psutil
import torch
from accelerate import Accelerator


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
