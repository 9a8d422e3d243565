"""How a run that fails ends: with one line that says why, on the console, in its log and in the launcher's report."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

import torch
from safetensors import SafetensorError

from .restoring import CheckpointError

_IN_WORKER = re.compile(r"Caught \w+ in DataLoader worker process")
_WORKER_DIED = re.compile(r"DataLoader worker \(pid(?:\(s\))? [\d, ]+\)")
# what gloo says is a plain RuntimeError
_LOST = re.compile(r"gloo|[Cc]onnection (?:closed|reset|refused)|Broken pipe|Timed out waiting|process group")


class NonFiniteLoss(RuntimeError):
    """The loss is NaN or infinite."""


class SaveError(RuntimeError):
    """Something of a run couldn't be written."""


@contextmanager
def saving(target: Path) -> Iterator[None]:
    """Name what couldn't be written, where a disk is full or a folder is gone.

    Raises:
        SaveError: for what writing raises: `OSError`, and what torch and safetensors make of it.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and _of_processes(error):
            raise
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
        raise SaveError(
            f"{target}: can't be written ({reason}). What was saved before is intact: make room, and go on with "
            "--resume last"
        ) from error


def check_writable(folder: Path) -> None:
    """Find out before work starts that files can be written below `folder`, of which only a part may exist yet.

    Raises:
        ValueError: where they can't.
    """
    folder = folder.absolute()
    there = next(x for x in (folder, *folder.parents) if x.exists())
    probe = there / f".writable-{os.getpid()}"
    try:
        probe.write_bytes(b"\0" * 4096)
    except OSError as error:
        raise ValueError(
            f"output_dir {folder}: nothing can be written to {there} ({error.strerror}): choose another --output_dir"
        ) from error
    finally:
        with suppress(OSError):
            probe.unlink()


def last_words(error: BaseException) -> str | None:
    """What a user should read of an error that ended a run; `None` for one that needs its traceback."""
    if isinstance(error, RuntimeError) and (found := _of_processes(error)):
        return found
    if not isinstance(error, (ValueError, OSError, CheckpointError, NonFiniteLoss, SaveError)):
        return None
    # a data worker's error comes with its traceback in front
    return _last_line(error) if _IN_WORKER.match(str(error)) else str(error)


def _last_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[-1]


def _of_processes(error: RuntimeError) -> str | None:
    """What to say where a data worker or another training process is lost; `None` for other errors."""
    text = " ".join(str(error).split())
    if _WORKER_DIED.search(text):
        return (
            f"a data worker died ({text[:160]}): most often because memory ran out; go on with --resume last and fewer "
            "--data.workers"
        )
    if isinstance(error, torch.distributed.DistError) or _LOST.search(text):
        return (
            f"another training process failed, or doesn't answer ({text[:160]}): what it said last is why; go on with "
            "--resume last"
        )
    return None


def end(program: str, error: BaseException) -> NoReturn:
    """End the process because of `error`: in one line where that tells all, after its traceback where it doesn't.

    Raises:
        SystemExit: always.
    """
    if isinstance(error, KeyboardInterrupt):
        _let_go(error)
        sys.exit(128 + signal.SIGINT)
    line = last_words(error)
    if line is None:
        traceback.print_exception(error)
        line = f"{type(error).__name__}: {_last_line(error)}"
    _let_go(error)
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        program = f"{program}, process {os.environ.get('RANK', 0)}"
    for handler in logging.getLogger("modeling_ocrnet").handlers:
        if isinstance(handler, logging.FileHandler):
            record = logging.LogRecord("modeling_ocrnet", logging.ERROR, "", 0, line, None, None)
            handler.handle(record)
    report = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if report and not (isinstance(error, RuntimeError) and _of_processes(error)):  # the first cause, not what followed
        message = {"message": line, "extraInfo": {"timestamp": str(int(time.time()))}}
        with suppress(OSError):
            Path(report).write_text(json.dumps({"message": message}), encoding="utf-8")
    sys.exit(f"{program}: {line}")


def _let_go(error: BaseException | None) -> None:
    """Let the data workers end: what the frames of an error hold would live on, and so would they.

    At exit, Python sends its children SIGTERM, which data workers ignore, and waits.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
