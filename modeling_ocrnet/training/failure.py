"""What ends a run, as errors that say what to do: a loss that isn't a number, a full disk, processes that are lost."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..common.compat import no_room, of_the_machine, peer_lost, safetensors_error, worker_died
from ..common.errors import UserError, reason

_FULL = 2**20  # bytes left on a disk on which a file couldn't be finished


class NonFiniteLoss(UserError, RuntimeError):
    """The loss is NaN or infinite."""


class SaveError(UserError, RuntimeError):
    """Something of a run couldn't be written."""


class WorkerDied(UserError, RuntimeError):
    """A process that reads data is gone."""


class ProcessLost(UserError, RuntimeError):
    """Another process of the run is gone; why, that one has said."""

    is_first_cause = False


@contextmanager
def saving(target: Path) -> Iterator[None]:
    """Name what couldn't be written, and say whether room must be made.

    Raises:
        SaveError: for an `OSError`, what safetensors makes of one, and any error on a full disk. Other errors go on.
    """
    try:
        yield
    except (OSError, RuntimeError, safetensors_error()) as error:
        if of_the_machine(error) or isinstance(error, UserError):
            raise
        full = no_room(error) or _is_full(target)  # torch.save doesn't say why it couldn't write
        if isinstance(error, RuntimeError) and not full:
            raise
        remedy = "make room" if full else "mend that"
        raise SaveError(
            f"{target}: can't be written ({reason(error, 200)}). What was saved before is intact: {remedy}, and go on "
            "with --resume last"
        ) from error


def _is_full(target: Path) -> bool:
    try:
        return shutil.disk_usage(_existing(target)).free < _FULL
    except OSError:
        return False


def _existing(path: Path) -> Path:
    """The path itself, or the first folder above it that is there."""
    path = path.absolute()
    return next(x for x in (path, *path.parents) if x.exists())


def check_writable(folder: Path) -> None:
    """Find out before work starts that files can be written below `folder`, of which only a part may exist yet.

    Raises:
        UserError: where they can't.
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
    """What torch raises when processes are lost, as errors that say what to do.

    Raises:
        WorkerDied: for a data worker.
        ProcessLost: for another process of the run.
    """
    try:
        yield
    except Exception as error:
        text = " ".join(str(error).split())[:160]
        if worker_died(error):
            raise WorkerDied(
                f"a data worker died ({text}): most often because memory ran out; go on with --resume last and fewer "
                "--data.workers"
            ) from error
        if peer_lost(error):
            raise ProcessLost(
                f"another training process failed, or doesn't answer ({text}): what it said last is why; go on with "
                "--resume last"
            ) from error
        raise
