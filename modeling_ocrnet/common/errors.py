"""Errors that the user can fix. A command prints them in one line; all other exceptions keep their traceback.

A message names the file or the field, the value, what was expected, and the remedy.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
_OF_WRONG_CODE = (TypeError, AttributeError, NameError, LookupError, AssertionError)


class UserError(ValueError):
    """The input can't be used; the message says what to do about it."""

    def __init__(self, message: str):
        # a DataLoader worker re-raises an error with its traceback before the message
        name = type(self).__name__
        in_worker = message.startswith(f"Caught {name} in ")
        super().__init__(message.rpartition(f"{name}: ")[2].strip() if in_worker else message)


class FileError(UserError, OSError):
    """A file or an address can't be read or written."""


class MissingFileError(FileError, FileNotFoundError):
    """There is no such file."""


class MissingPackageError(UserError, ImportError):
    """A package isn't installed; the message gives the command that installs it."""


def is_bug(error: BaseException) -> bool:
    """Whether an error is most likely a bug in this package: one of its own lines raised a TypeError or the like.

    Libraries may raise anything for damaged files. This tells which of those errors must keep their traceback.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    own = trace is not None and Path(trace.tb_frame.f_code.co_filename).is_relative_to(_PACKAGE)
    return own and isinstance(error, _OF_WRONG_CODE)


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Turns an `OSError` in the block, which writes to `path` (chosen by the user), into an error for the user.

    Raises:
        FileError: for an `OSError` inside the block.
    """
    try:
        yield
    except FileError:
        raise
    except OSError as error:
        raise FileError(f"{path}: can't be written ({reason(error)}): choose another place, or fix that") from error


def reason(error: BaseException, longest: int = 300) -> str:
    """An error's message on one line, at most `longest` characters. For an OSError: without the number and the path."""
    words = getattr(error, "strerror", None) or str(error)
    return " ".join(str(words).split())[:longest] or type(error).__name__
