"""A log as the SDAA model zoo's tools read it."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from pathlib import Path


def write_model_zoo_line(path: Path, step: int, loss: float, images_per_second: float) -> None:
    """Append and print a TCAPPDLL line, whose iterations count from 0.

    Args:
        path: the log.
        step: steps done.
        loss: a mean over processes, so that there is one rank.
        images_per_second: of all processes.
    """
    text = (
        f"TCAPPDLL {datetime.now():%Y-%m-%d %H:%M:%S.%f} - Epoch: 0 Iteration: {step - 1}  rank : 0  "
        f"train.loss : {loss}  train.ips : {images_per_second:.2f} imgs/s"
    )
    with path.open("a", encoding="utf-8") as file:
        file.write(text + "\n")
    with suppress(BrokenPipeError):  # Ctrl-C ends `| tee` first, and the run still has to save
        print(text, flush=True)
