"""Signals to this process in the middle of a run."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from helpers.process_state import replace_for_good
from modeling_ocrnet.training import loop


@contextmanager
def stop_after(steps: int, number: int = signal.SIGTERM) -> Iterator[None]:
    """Send this process a signal once so many steps of the run in this block are done."""
    original = loop.train_step

    def counted(experiment, batches, step, **options):
        values = original(experiment, batches, step, **options)
        if step + 1 == steps:
            os.kill(os.getpid(), number)
        return values

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "train_step", counted)
        yield


def signal_process_1(number: int, during: int) -> None:
    """One of several processes, of which this is one, gets a signal, in the middle of a step."""
    original = loop.train_step

    def signalled(experiment, batches, step, **options):
        if step == during and experiment.accelerator.process_index == 1:
            os.kill(os.getpid(), number)
        return original(experiment, batches, step, **options)

    replace_for_good(loop, "train_step", signalled)
