"""The first signal asks the training loop to stop after a step; the second one ends the process."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_LAUNCHED = ("ACCELERATE_MIXED_PRECISION", "TORCHELASTIC_RUN_ID")  # what launchers set
_PR_SET_PDEATHSIG = 1  # prctl.h
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)]


class GracefulShutdown:
    """While active, the first Ctrl-C, SIGTERM or SIGUSR1 sets `reason`; a second one ends the process as usual.

    A process that `accelerate launch` or torchrun started also stops when its launcher is gone, instead of running on
    alone: the launcher of one process doesn't pass SIGTERM on, that of several not SIGUSR1. Make this early: it notes
    which process the launcher is.
    """

    def __init__(self):
        self._signal: int | None = None
        self._previous = {}
        self._launcher = os.getppid() if any(x in os.environ for x in _LAUNCHED) else None
        if self._launcher is not None:
            _end_with_parent(signal.SIGTERM)  # it would wait for the others, which the launcher brings together

    def __enter__(self) -> GracefulShutdown:
        if self._launcher is not None:
            _end_with_parent(0)  # which can send several, one for each of the parent's threads; from now on it is asked
        for number in SIGNALS:
            self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_):
        self._restore()

    def _note(self, number: int, _frame):
        self._signal = number
        self._restore()

    def _restore(self):
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    @property
    def reason(self) -> str | None:
        """Why to stop, or `None`."""
        if self._launcher is not None and os.getppid() != self._launcher:
            return "the launcher is gone"
        return None if self._signal is None else signal.Signals(self._signal).name

    @property
    def exit_code(self) -> int:
        """What a shell expects of a process that this signal ended."""
        return 128 + (self._signal or signal.SIGTERM)


def _end_with_parent(number: int) -> None:
    """On Linux, the kernel sends this process a signal when its parent is gone (0: none)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
