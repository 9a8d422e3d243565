"""What a training step of a recipe takes on this machine, measured in a process of its own.

So its peak memory is the step's, and a step that takes too much ends that process alone.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from ..common.errors import UserError
from .dry_run import RunCost, measure
from .recipe import Recipe

logger = logging.getLogger("modeling_ocrnet.training")

STEPS, ENOUGH = 4, 15.0  # at most so many, of which the last half counts; seconds after which none is begun
_PACKAGES = Path(__file__).parents[2]


def measure_step(recipe: Recipe) -> RunCost | None:
    """Do a few steps of a recipe, evaluate an image and write a checkpoint, in a folder that is thrown away.

    Args:
        recipe: whose output folder isn't used.

    Returns:
        What they took; `None` if memory ran out.

    Raises:
        UserError: what a run of the recipe would raise before its first steps.
        RuntimeError: for any other error, with its traceback.
    """
    paths = [str(_PACKAGES), *filter(None, [os.environ.get("PYTHONPATH")])]
    command = [sys.executable, "-m", __name__]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(command, input=pickle.dumps(recipe), capture_output=True, env=environment, check=False)
    lines = done.stdout.decode(errors="replace").splitlines()
    said = done.stderr.decode(errors="replace")
    if done.returncode < 0 or (done.returncode and _out_of_memory(said)):
        logger.debug("%s", said)
        return None
    if done.returncode:
        raise RuntimeError(f"the measurement of a step failed:\n{said}")
    answer = json.loads(lines[-1])
    if "error" in answer:
        raise UserError(answer["error"])
    return RunCost(**answer)


def _out_of_memory(text: str) -> bool:
    """Whether a traceback is of an allocation that failed: accelerators' errors, the CPU's, Python's."""
    return any(x in text for x in ("OutOfMemoryError", "can't allocate memory", "MemoryError", "out of memory"))


def main() -> None:
    """The other process: reads a recipe from standard input, and writes the costs as its last line."""
    recipe = pickle.loads(sys.stdin.buffer.read())
    try:
        answer = asdict(measure(recipe, STEPS, ENOUGH))
    except UserError as error:
        answer = {"error": str(error)}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
