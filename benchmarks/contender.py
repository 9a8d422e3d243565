"""Runs a contender in a separate process: another implementation may need another Python, and memory is measured per
process.

A contender prints a line of JSON when it is ready. Then, for each line that it reads, it does its work and prints the
result as JSON. Other lines, which libraries print, are ignored.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from modeling_ocrnet.data.decoding import DataError


@contextmanager
def start_contender(
    command: list[str], needs: str, environment: dict[str, str] | None = None, folder: Path | None = None
) -> Iterator[tuple[dict, Callable[[str], dict]]]:
    """Start a contender, and end it with the block.

    Args:
        command: interpreter, script and arguments.
        needs: the package that the interpreter must have, for the error message.
        environment: variables to set. PYTHON* variables aren't passed on, so that only the interpreter's own packages
            are imported.
        folder: working folder; this process's by default.

    Yields:
        The contender's first answer, and a function that sends it a line and returns its answer. The function raises
        `DataError` if the contender ends instead.
    """
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=inherited | (environment or {}),
        cwd=folder,
    ) as child:

        def answer() -> dict:
            while line := child.stdout.readline():
                if line.startswith("{"):
                    return json.loads(line)
            raise DataError(f"{' '.join(command)} ended with code {child.wait()}: is {needs} installed there?")

        def ask(line: str) -> dict:
            child.stdin.write(f"{line}\n")
            child.stdin.flush()
            return answer()

        try:
            yield answer(), ask
        finally:
            child.stdin.close()
