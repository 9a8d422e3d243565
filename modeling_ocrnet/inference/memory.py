"""glibc's allocator, for a process that computes on a CPU."""

from __future__ import annotations

import ctypes
import platform
from functools import cache

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


@cache  # it holds for good
def keep_freed_memory() -> bool:
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
