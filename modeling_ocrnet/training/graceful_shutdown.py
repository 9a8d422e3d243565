"""Stop training by signals: the first makes the training loop stop after a step, the second ends the process."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_LAUNCHED = ("ACCELERATE_MIXED_PRECISION", "TORCHELASTIC_RUN_ID")  # set by launchers
_PR_SET_PDEATHSIG = 1  # prctl.h
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)]


class GracefulShutdown:
    """A context in which the first Ctrl-C, SIGTERM or SIGUSR1 sets `reason`. A second one ends the process as usual.

    A process that `accelerate launch` or torchrun started also stops if its launcher has ended. This is needed because
    the launcher of one process doesn't forward SIGTERM, and the launcher of several doesn't forward SIGUSR1. Create the
    object early: its constructor records which process the launcher is.
    """

    def __init__(self):
        self._signal: int | None = None
        self._previous = {}
        self._launcher = os.getppid() if any(x in os.environ for x in _LAUNCHED) else None
        if self._launcher is not None:
            _end_with_parent(signal.SIGTERM)  # until `__enter__`: it would wait for the others in vain

    def __enter__(self) -> GracefulShutdown:
        if self._launcher is not None:
            _end_with_parent(0)  # it can send one signal per thread of the parent; from now on, `reason` asks instead
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
        """Why training should stop, or `None`."""
        if self._launcher is not None and os.getppid() != self._launcher:
            return "the launcher is gone"
        return None if self._signal is None else signal.Signals(self._signal).name

    @property
    def exit_code(self) -> int:
        """The exit code that shells expect of a process that this signal ended."""
        return 128 + (self._signal or signal.SIGTERM)


def _end_with_parent(number: int) -> None:
    """On Linux, make the kernel send this process a signal when its parent ends (0: none)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
