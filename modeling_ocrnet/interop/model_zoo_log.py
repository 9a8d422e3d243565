"""Writes a log in the format of the SDAA model zoo's tools."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from pathlib import Path


def write_model_zoo_line(path: Path, step: int, loss: float, images_per_second: float) -> None:
    """Append a TCAPPDLL line to the log, and print it. Its iterations count from 0.

    Args:
        path: the log.
        step: the number of steps done.
        loss: the mean over all processes, which is written as that of rank 0.
        images_per_second: the total of all processes.
    """
    text = (
        f"TCAPPDLL {datetime.now():%Y-%m-%d %H:%M:%S.%f} - Epoch: 0 Iteration: {step - 1}  rank : 0  "
        f"train.loss : {loss}  train.ips : {images_per_second:.2f} imgs/s"
    )
    with path.open("a", encoding="utf-8") as file:
        file.write(text + "\n")
    with suppress(BrokenPipeError):  # Ctrl-C also ends `| tee`, and the run must still save
        print(text, flush=True)
