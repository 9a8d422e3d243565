"""Signals become a wish to stop, which the loop grants after the current update."""

from __future__ import annotations

import os
import signal

_LAUNCHED = ("ACCELERATE_MIXED_PRECISION", "TORCHELASTIC_RUN_ID")  # what launchers set
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)]


class Interruption:
    """While active, the first Ctrl-C, SIGTERM or SIGUSR1 sets `reason`; a second one ends the process as usual.

    A process that `accelerate launch` or torchrun started also stops when its launcher is gone, instead of running on
    alone: the launcher of one process doesn't pass SIGTERM on, that of several not SIGUSR1. Make this early: it notes
    which process the launcher is.
    """

    def __init__(self):
        self._signal: int | None = None
        self._previous = {}
        self._launcher = os.getppid() if any(x in os.environ for x in _LAUNCHED) else None

    def __enter__(self) -> Interruption:
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
        if self._signal is not None:
            return signal.Signals(self._signal).name
        if self._launcher is not None and os.getppid() != self._launcher:
            return "the launcher is gone"
        return None

    @property
    def exit_code(self) -> int:
        """What a shell expects of a process that this signal ended."""
        return 128 + (self._signal or signal.SIGTERM)
