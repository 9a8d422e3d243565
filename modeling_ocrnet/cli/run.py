"""How every command ends when something goes wrong."""

from __future__ import annotations

import difflib
import json
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import NoReturn

from ..common.errors import UserError


def command(program: str) -> Callable[[Callable], Callable]:
    """A decorator for a command's `main`: an error ends the process as [`exit_with_error`] does.

    Args:
        program: what the command is called in its messages.
    """

    def decorate(main: Callable) -> Callable:
        @wraps(main)
        def run(*args, **kwargs):
            try:
                return main(*args, **kwargs)
            except (Exception, KeyboardInterrupt) as error:
                exit_with_error(program_name(program), error)

        return run

    return decorate


def program_name(script: str) -> str:
    """What a command is called in messages: `ocrnet train` if it was started so, else its script's name."""
    started = sys.argv[0] if sys.argv else ""
    return started if started.startswith("ocrnet ") else script


def choose_command(program: str, names: Iterable[str], about: str, argv: list[str] | None) -> tuple[str, list[str]]:
    """The subcommand that the first argument names, and the arguments behind it. Without any, or for --help, print
    `about`.

    Raises:
        SystemExit: of code 0 after `about`; of code 2 if there is no such subcommand, after a line that says so.
    """
    name, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("-h", "--help"):
        print(about.strip())
        sys.exit(0)
    if name not in (known := list(names)):
        nearest = difflib.get_close_matches(name, known, n=1)
        advice = f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join(known)}"
        print(f"{program}: {name!r} is not a command; {advice}", file=sys.stderr)
        sys.exit(2)
    return name, rest


def exit_with_error(program: str, error: BaseException) -> NoReturn:
    """End the process: a [`UserError`] says all in its message; any other error also shows its traceback.

    Both are written to the log file, if a run has begun one, and the first cause to the launcher's report.

    Raises:
        SystemExit: always; of code 1, after Ctrl-C of code 130.
    """
    if isinstance(error, KeyboardInterrupt):
        release_frames(error)
        sys.exit(128 + signal.SIGINT)
    message = user_message(error)
    if message is None:
        traceback.print_exception(error)
        message = f"{type(error).__name__}: {_last_line(error)}"
    _log(message, error)
    release_frames(error)
    _report(message, error)
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        program = f"{program}, process {os.environ.get('RANK', 0)}"
    sys.exit(f"{program}: {message}")


def user_message(error: BaseException) -> str | None:
    """What a user should read of an error; `None` for one that needs its traceback."""
    return str(error) if isinstance(error, UserError) else None


def release_frames(error: BaseException | None) -> None:
    """Let the data workers end: what the frames of an error hold would live on, and so would they.

    At exit, Python sends its children SIGTERM, which data workers ignore, and waits.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _last_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[-1]


def _log(message: str, error: BaseException) -> None:
    """Into the log file alone, which the console's line doesn't reach; with the traceback, unless the message is all
    there is to know."""
    told = isinstance(error, UserError) and error.__cause__ is None
    trace = None if told else (type(error), error, error.__traceback__)
    record = logging.LogRecord("modeling_ocrnet", logging.ERROR, "", 0, "%s", (message,), trace)
    for handler in logging.getLogger("modeling_ocrnet").handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(record)


def _report(message: str, error: BaseException) -> None:
    """For the launcher, which shows the report of the process that failed first."""
    report = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if report and getattr(error, "is_first_cause", True):
        content = {"message": message, "extraInfo": {"timestamp": str(int(time.time()))}}
        with suppress(OSError):
            Path(report).write_text(json.dumps({"message": content}), encoding="utf-8")
