"""Runs that are killed and go on, and what must be the same in the end: see tests/kill_and_resume.py."""

from __future__ import annotations

import functools
import json
import os
import random
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

from helpers.crash_points import POINTS, install
from helpers.multiprocess import Ranks, train
from helpers.tiny import TINY_BACKBONE
from modeling_ocrnet.training import recipe as R
from street_scenes import write_street_scenes

FOLDERS = ("model", "model_ema", "best")


def tiny_recipe(scenes: Path, output: Path) -> R.Recipe:
    """Whatever has a state: dropout, momentum, an average of the weights, data workers, several kinds of folders."""
    heads = {"ocr_channels": 16, "key_channels": 8, "dropout": 0.5}
    return R.Recipe(
        data=R.DataRecipe("street_scenes", str(scenes), crop_size=(32, 64), scale=(128, 64), workers=2),
        model=R.ModelRecipe("hr18s", None, heads, TINY_BACKBONE, ema_decay=0.9),
        schedule=R.ScheduleRecipe(max_steps=8),
        evaluation=R.EvaluationRecipe(every=4, limit=4),
        checkpoint=R.CheckpointRecipe(every=2, keep_last=1),
        logging=R.LoggingRecipe(every=1, pictures=0),
        global_batch=4,
        micro_batch=2,
        mixed_precision="no",
        output=str(output),
    )


@dataclass
class Run:
    """A training run below `folder`, which goes on in place each time that it is started."""

    folder: Path
    scenes: Path
    processes: int

    def start(self, point: str | None = None):
        """Its processes, begun (use as a context): they wait at `point`, if there is one."""
        self.folder.mkdir(exist_ok=True)
        for name in ("paused", "phase0"):
            (self.folder / name).unlink(missing_ok=True)
        recipe = tiny_recipe(self.scenes, self.folder / "run")
        watch = functools.partial(install, self.folder, point)
        return train(self.folder, recipe, "--resume", "auto", before=watch, world=self.processes)

    def finish(self) -> None:
        """Go on to the end.

        Raises:
            RuntimeError: where a process fails, with its last lines.
        """
        with self.start() as ranks:
            if not await_end(ranks, None):
                raise RuntimeError("not finished")

    def phase(self) -> str:
        """What the main process is doing, or did last."""
        file = self.folder / "phase0"
        return file.read_text().strip() if file.exists() else "starting"

    def starts(self) -> list[int]:
        """The steps that the main process went on from."""
        return [x["start"] for x in self._order(0) if "start" in x]

    def has_checkpoint(self) -> bool:
        return any((self.folder / "run/checkpoints").glob("step-*"))

    def _order(self, rank: int) -> list[dict]:
        file = self.folder / f"order{rank}.jsonl"
        return [json.loads(x) for x in file.read_text().splitlines()] if file.exists() else []

    def result(self) -> dict:
        """All that must be the same, by name.

        Raises:
            RuntimeError: where parts of the run that were trained twice differ.
        """
        found: dict = {}
        for rank in range(self.processes):
            for line in self._order(rank):
                if "start" not in line:
                    what = f"samples of step {line['step']}, process {rank}, part {line['part']}"
                    self._note(found, what, (line["names"], line["pixels"]))
        for line in map(json.loads, (self.folder / "run/metrics.jsonl").read_text().splitlines()):
            for key in line.keys() - {"step", "images_per_second"}:
                self._note(found, f"{key} of step {line['step']}", line[key])
        for name in FOLDERS:
            found[f"weights in {name}/"] = (self.folder / "run" / name / "model.safetensors").read_bytes()
        return found

    def _note(self, found: dict, key: str, value) -> None:
        if found.setdefault(key, value) != value:
            raise RuntimeError(f"{key} differ from one time to the next: {found[key]}, {value}")


def await_end(ranks, until) -> bool:
    """Wait until the processes have ended, or `until()` holds; whether they have ended.

    Raises:
        RuntimeError: where one of them fails, with its last lines.
    """
    while True:
        codes = [x.exitcode for x in ranks.processes]
        if any(codes):
            rank = next(i for i, code in enumerate(codes) if code)
            raise RuntimeError(f"process {rank} ended with {codes[rank]}:\n{ranks.text(rank)[-2000:]}")
        if all(code == 0 for code in codes):
            return True
        if until is not None and until():
            return False
        time.sleep(0.005)


def kill(ranks) -> None:
    """SIGKILL to all processes at once, their data workers included."""
    for process in ranks.processes:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:  # it hasn't made its group yet
            process.kill()
    for process in ranks.processes:
        process.join()


def differences(run: Run, reference: dict) -> list[str]:
    """What isn't as in the undisturbed run, by name."""
    result = run.result()
    return [key for key in sorted(reference.keys() | result.keys()) if reference.get(key) != result.get(key)]


@dataclass
class Campaign:
    """Kills, and what became of them.

    Args:
        folder: for everything; `reference/` and `round<i>/` in it.
        reference: the result of the undisturbed run.
        seconds: what a run takes; kills at random moments come within 0.7 of that.
    """

    folder: Path
    scenes: Path
    processes: int
    reference: dict
    seconds: float
    chance: random.Random
    rounds: int = 0
    tried: int = 0
    survived: int = 0
    waiting: list[str] = field(default_factory=list)  # for the run to go on
    differing: list[str] = field(default_factory=list)

    def run(self, kills: int, points=POINTS) -> None:
        """That many kills, at `points` first, and then to the end."""
        pending = list(points)
        self.chance.shuffle(pending)
        pending = pending[:kills]
        run = self._begin()
        while self.tried < kills:
            # what can't be reached from here (there is no checkpoint yet) is tried later
            point = next((x for x in pending if "restored" not in x or run.has_checkpoint()), None)
            if self._kill(run, point):
                pending = [x for x in pending if x != point]
            else:  # it came to its end before
                self._compare(run)
                run = self._begin()
        begun = len(run.starts())
        run.finish()
        self._say_where(run, begun)
        self._compare(run)

    def _begin(self) -> Run:
        self.rounds += 1
        return Run(self.folder / f"round{self.rounds}", self.scenes, self.processes)

    def _kill(self, run: Run, point: str | None) -> bool:
        """Start and kill a run; whether there was something to kill."""
        begun, started = len(run.starts()), time.monotonic()
        origin, delay = started, self.chance.uniform(0, 0.7 * self.seconds)
        in_training = self.chance.random() < 0.7  # where a short run is for a part of its time alone

        def due() -> bool:
            nonlocal origin
            if in_training and len(run.starts()) == begun:
                origin = time.monotonic()
            return time.monotonic() - origin > delay

        reached = (run.folder / "paused").exists if point else due
        with run.start(point) as ranks:
            ended = await_end(ranks, reached)
            after, phase = time.monotonic() - started, run.phase()
            kill(ranks)
        self._say_where(run, begun)
        if ended:  # the machine has become faster: sooner, from now on
            self.seconds = min(self.seconds, after)
        else:
            self.tried += 1
            what = f"at {point}" if point else "at a random moment"
            self.waiting.append(f"kill {self.tried}: {what}, after {after:.1f} s, in: {phase}")
        return not ended

    def _say_where(self, run: Run, begun: int) -> None:
        """After a start: the kills before it are survived if training went on."""
        if len(run.starts()) > begun:
            for line in self.waiting:
                print(f"{line}; went on after step {run.starts()[-1]}", flush=True)
            self.survived += len(self.waiting)
            self.waiting.clear()

    def _compare(self, run: Run) -> None:
        found = differences(run, self.reference)
        self.differing += [f"round {self.rounds}: {x}" for x in found]
        print(
            f"round {self.rounds} is at its end, begun {len(run.starts())} times: "
            f"{'identical' if not found else 'DIFFERENT: ' + ', '.join(found[:5])}",
            flush=True,
        )


def campaign(folder: Path, processes: int, seed: int) -> Campaign:
    """The undisturbed run, and what is needed to compare others with it."""
    scenes = folder / "scenes"
    write_street_scenes(scenes, train=10, val=4, size=(64, 128), seed=1)
    reference = Run(folder / "reference", scenes, processes)
    with Ranks(folder, time.time) as ranks:  # the first one waits until everything is imported
        await_end(ranks, None)
    started = time.monotonic()
    reference.finish()
    seconds = time.monotonic() - started
    return Campaign(folder, scenes, processes, reference.result(), seconds, random.Random(seed))
