"""A Python process whose standard streams are a terminal, as a user's are."""

import os
import subprocess
import sys
import threading

import pytest


def run_on_a_terminal(code: str, seconds: float = 300) -> str:
    """Run code offline in a process that believes it talks to a person, who never answers.

    Returns:
        What it wrote.
    """
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=theirs, stdout=theirs, stderr=theirs, env=environment, close_fds=True
    )
    os.close(theirs)
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    written = b""
    try:
        while part := os.read(ours, 65536):
            written += part
    except OSError:  # Linux says so when the other side is closed
        pass
    finally:
        process.wait()
        timer.cancel()
        os.close(ours)
    return written.decode(errors="replace")
