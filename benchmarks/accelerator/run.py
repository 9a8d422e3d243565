"""Runs the parts one after the other, each in a separate process with a share of the time."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import torch

from .section import Outcome, PartFailed, PartSkipped, Section
from .settings import Settings

GRACE = 10  # seconds that a part has to end after its share of the time
DATA = ("accelerate", "cv2", "datasets", "evaluate", "PIL", "psutil", "safetensors", "torchvision")


@dataclass(frozen=True)
class Part:
    """A part of the report.

    Args:
        name: the title of its chapter.
        function: the function, or its `module:function` in this package; called with a section and the settings.
        weight: its weight when the remaining time is divided among the remaining parts.
        needs: required modules other than torch, transformers and numpy.
    """

    name: str
    function: str | Callable[[Section, Settings], None]
    weight: float
    needs: tuple[str, ...] = field(default=())

    def resolve(self) -> Callable[[Section, Settings], None]:
        if callable(self.function):
            return self.function
        module, name = self.function.split(":")
        return getattr(import_module(f"{__package__}.{module}"), name)


PARTS = [
    Part("environment", "environment:environment", 20),
    Part("tests", "checks:checks", 90, (*DATA, "pytest", "tqdm", "yaml")),
    Part("training", "training:training", 120),
    Part("inference", "inference:inference", 70),
    Part("trace", "trace:trace", 40),
    Part("loop", "waits:waits", 60, (*DATA, "tqdm", "yaml")),
    Part("compile", "compilation:compilation", 80),
]


def run_parts(parts: list[Part], settings: Settings, minutes: float) -> list[Outcome]:
    """Run all parts in turn; the report is written after each.

    Args:
        parts: in order; time that one doesn't use is divided among the later ones.
        settings: of all parts.
        minutes: time limit of all parts together.
    """
    settings.output.mkdir(parents=True, exist_ok=True)
    end, outcomes = time.monotonic() + 60 * minutes, []
    with tempfile.TemporaryDirectory() as scratch:
        for number, part in enumerate(parts):
            share = part.weight / sum(x.weight for x in parts[number:])
            seconds = max(0.0, end - time.monotonic() - GRACE) * share
            outcome = run_part(part, settings, seconds, Path(scratch) / f"{number}.json")
            outcomes.append(outcome)
            print(outcome.markdown(), flush=True)
            write_report(outcomes, settings)
    return outcomes


def run_part(part: Part, settings: Settings, seconds: float, path: Path) -> Outcome:
    """Run one part in a fork of this process, which has imported everything but never used the device."""
    missing = [x for x in part.needs if find_spec(x) is None]
    if missing:
        return Outcome(part.name, "skipped", f"not installed here: {', '.join(missing)}", 0.0, [], {})
    start = time.monotonic()
    receive, send = multiprocessing.Pipe(duplex=False)
    context = multiprocessing.get_context("fork")
    child = context.Process(target=_work, args=(part, settings, Section(path, start + seconds), send))
    child.start()
    send.close()
    child.join(seconds + GRACE)
    late = child.is_alive()
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)  # with its data workers and compilers
    child.join()
    try:
        status, reason = receive.recv() if receive.poll() else (None, "")
    except EOFError:
        status, reason = None, ""
    if status is None:
        used = f"its {seconds:.0f} s were used up; its results until then follow"
        status, reason = ("stopped", used) if late else ("failed", f"the process ended with code {child.exitcode}")
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"blocks": [], "figures": {}}
    return Outcome(part.name, status, reason, time.monotonic() - start, **kept)


def _work(part: Part, settings: Settings, section: Section, send) -> None:
    os.setsid()
    with (settings.output / "log.txt").open("a", encoding="utf-8") as log:
        print(f"--- {part.name}", file=log, flush=True)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(log.fileno(), stream.fileno())
    if settings.tiny:  # more threads would spend more time waiting than working
        torch.set_num_threads(1)
        os.environ["OMP_NUM_THREADS"] = "1,1"  # the training loop would treat "1" as a launcher's default
    try:
        part.resolve()(section, settings)
        used = section.time_left() < 0
        send.send(("stopped", "its time was used up; its results until then follow") if used else ("done", ""))
    except PartSkipped as error:
        send.send(("skipped", str(error)))
    except PartFailed as error:
        send.send(("failed", str(error)))
    except BaseException:  # also SystemExit, because the other parts must continue
        traceback.print_exc()
        send.send(("failed", traceback.format_exc()[-20_000:]))  # a pipe holds 64 KB


def write_report(outcomes: list[Outcome], settings: Settings) -> None:
    """Write `report.md` for people and `results.json` for programs."""
    kind = "the CPU with tiny sizes, to test the script: no figure is meaningful" if settings.tiny else "an accelerator"
    head = ["# OCRNet on an accelerator", "", f"Run on {kind}.", "", "| part | outcome | s |", "| --- | --- | --- |"]
    head += [f"| {x.name} | {x.status} | {x.seconds:.0f} |" for x in outcomes]
    chapters = "\n".join(x.markdown() for x in outcomes)
    (settings.output / "report.md").write_text("\n".join(head) + "\n\n" + chapters, encoding="utf-8")
    found = {"tiny": settings.tiny, "parts": {x.name: x.json() for x in outcomes}}
    (settings.output / "results.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
