"""Errors that end a run and say what to do: a loss that isn't finite, a full disk, lost processes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..common.compat import no_room, of_the_machine, peer_lost, safetensors_error, worker_died
from ..common.errors import UserError, reason

_FULL = 2**20  # a disk with fewer free bytes counts as full


class NonFiniteLoss(UserError, RuntimeError):
    """The loss is NaN or infinite."""


class SaveError(UserError, RuntimeError):
    """A file of the run couldn't be written."""


class WorkerDied(UserError, RuntimeError):
    """A data worker has ended."""


class ProcessLost(UserError, RuntimeError):
    """Another process of the run has ended. That process has logged the reason."""

    is_first_cause = False


@contextmanager
def saving(target: Path) -> Iterator[None]:
    """Turn write errors into messages that name the file, and say if the disk is full.

    Raises:
        SaveError: for an `OSError`, safetensors' error for one, and any `RuntimeError` on a full disk. Other errors
            pass unchanged.
    """
    try:
        yield
    except (OSError, RuntimeError, safetensors_error()) as error:
        if of_the_machine(error) or isinstance(error, UserError):
            raise
        full = no_room(error) or _is_full(target)  # torch.save's error doesn't say that the disk is full
        if isinstance(error, RuntimeError) and not full:
            raise
        remedy = "free disk space" if full else "fix that"
        raise SaveError(
            f"{target}: can't be written ({reason(error, 200)}). Everything saved before is intact: {remedy}, and "
            "continue with --resume last"
        ) from error


def _is_full(target: Path) -> bool:
    try:
        return shutil.disk_usage(_existing(target)).free < _FULL
    except OSError:
        return False


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    path = path.absolute()
    return next(x for x in (path, *path.parents) if x.exists())


def check_writable(folder: Path) -> None:
    """Check that files can be written below `folder`, before work starts. The folder need not exist yet.

    Raises:
        UserError: if they can't.
    """
    folder = folder.absolute()
    there = _existing(folder)
    probe = there / f".writable-{os.getpid()}"
    try:
        probe.write_bytes(b"\0" * 4096)
    except OSError as error:
        raise UserError(
            f"output {folder}: nothing can be written to {there} ({reason(error)}): choose another --output"
        ) from error
    finally:
        with suppress(OSError):
            probe.unlink()


@contextmanager
def explained_processes() -> Iterator[None]:
    """Turn torch's errors for lost processes into errors that say what to do.

    Raises:
        WorkerDied: if a data worker has ended.
        ProcessLost: if another process of the run has ended.
    """
    try:
        yield
    except Exception as error:
        text = " ".join(str(error).split())[:160]
        if worker_died(error):
            raise WorkerDied(
                f"a data worker died ({text}), most often because memory ran out: continue with --resume last and "
                "fewer --data.workers"
            ) from error
        if peer_lost(error):
            raise ProcessLost(
                f"another training process failed, or doesn't answer ({text}): see its last log lines for the reason; "
                "continue with --resume last"
            ) from error
        raise
