"""What a run does when it is killed, and places where it waits to be: wrapped around the training code from outside."""

from __future__ import annotations

import json
import os
import shutil
import time
import zlib
from pathlib import Path

import torch
from accelerate import Accelerator

from helpers.process_state import replace_for_good
from modeling_ocrnet.common import atomic_files as folders
from modeling_ocrnet.data import map_style as stream
from modeling_ocrnet.evaluation import loop as evaluation
from modeling_ocrnet.training import checkpoint, loop, results

# where `install` can let the main process (or its data worker) wait
POINTS = (
    "the optimizer's file half written",
    "a checkpoint without its manifest",
    "a checkpoint without its name",
    "a checkpoint named, the older one still there",
    "the older checkpoint half deleted",
    "an evaluation's second image",
    "a data worker's read",
    "best/ half written",
    "model/ half written",
    "a checkpoint half restored",
)


class Watch:
    """Notes of one process in `folder`: what it is doing in `phase<rank>`, what it trains on in `order<rank>.jsonl`."""

    def __init__(self, folder: Path, point: str | None):
        self.folder, self.point, self.rank = folder, point, int(os.environ.get("RANK", 0))
        self._phase = os.open(folder / f"phase{self.rank}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        self._order = os.open(folder / f"order{self.rank}.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.now = ""
        self.say("starting")

    def say(self, phase: str) -> str:
        """Note what begins; returns what was going on before."""
        before, self.now = self.now, phase
        os.pwrite(self._phase, phase.ljust(80).encode(), 0)
        return before

    def order(self, **line) -> None:
        os.write(self._order, (json.dumps(line) + "\n").encode())

    def reach(self, point: str) -> None:
        """Wait here for the end, if this is the point."""
        if self.point == point and self.rank == 0:
            (self.folder / "paused").touch()
            parent = os.getppid()
            while os.getppid() == parent:  # whoever was to kill it may be gone
                time.sleep(0.1)
            os._exit(1)

    def around(self, module, name: str, describe, before: str | None = None, after: str | None = None) -> None:
        """Note each call of `module.name`; reach the points `before` and `after` it."""
        original = getattr(module, name)

        def watched(*args, **options):
            previous = self.say(describe(*args, **options))
            if before:
                self.reach(before)
            result = original(*args, **options)
            if after:
                self.reach(after)
            self.say(previous)
            return result

        replace_for_good(module, name, watched)


def install(folder: Path, point: str | None = None) -> None:
    """Watch the training that this process is about to do, and wait for the end at `point`."""
    torch.set_num_threads(1)  # a tiny network is none the faster with more, and waits for them on a busy machine
    replace_for_good(loop, "use_all_cores", lambda _: None)
    watch = Watch(folder, point)
    watch.around(loop, "build", lambda *_: "building")
    watch.around(loop, "load_checkpoint", lambda _, __, path, *___, **____: f"restoring {path.name}")
    watch.around(loop, "train_step", lambda _, __, step, **___: f"step {step + 1}")
    watch.around(loop, "evaluate", lambda _, state, *__: f"evaluation after step {state.step}")
    watch.around(results, "save_checkpoint", lambda _, __, ___, state: f"checkpoint of step {state.step}")
    watch.around(results, "save_model", lambda *args: f"writing {args[4].name}/")
    watch.around(results, "draw_curve", lambda *_: "the report")
    _watch_order(watch)
    _wait_in_checkpoints(watch)
    _wait_elsewhere(watch)


def _watch_order(watch: Watch) -> None:
    build_batches = loop.build_batches

    def noted(experiment, start):
        share = experiment.accelerator.gradient_accumulation_steps
        for i, batch in enumerate(build_batches(experiment, start)):
            pixels = zlib.crc32(batch["labels"].numpy().tobytes(), zlib.crc32(batch["pixel_values"].numpy().tobytes()))
            watch.order(step=start + i // share, part=i % share, names=batch["names"], pixels=pixels)
            yield batch

    def watched(experiment, start):
        watch.order(start=start)
        return noted(experiment, start)

    replace_for_good(loop, "build_batches", watched)


def _wait_in_checkpoints(watch: Watch) -> None:
    torch_save, replace, rmtree = torch.save, os.replace, shutil.rmtree

    def save(content, file, *args, **options):
        torch_save(content, file, *args, **options)
        if watch.point == POINTS[0] and "optimizer" in str(file):
            os.truncate(file, os.path.getsize(file) // 2)
            watch.reach(POINTS[0])

    def rename(source, target):
        is_new = Path(target).name.startswith("step-")
        if is_new:
            watch.reach(POINTS[2])
        replace(source, target)
        if is_new:
            watch.reach(POINTS[3])

    def delete(folder, *args, **options):
        if Path(folder).name.startswith(".step-") and Path(folder).is_dir() and watch.point == POINTS[4]:
            next(Path(folder).glob("*.safetensors")).unlink()
            watch.reach(POINTS[4])
        rmtree(folder, *args, **options)

    for owner, name, value in ((torch, "save", save), (os, "replace", rename), (shutil, "rmtree", delete)):
        replace_for_good(owner, name, value)
    watch.around(folders, "write_manifest", lambda *_: watch.now, before=POINTS[1])


def _wait_elsewhere(watch: Watch) -> None:
    images = iter(range(10**9))
    segment, read, write_recipe, load_state = (
        evaluation.segment,
        stream.TrainingDataset.__getitem__,
        checkpoint.write_recipe,
        Accelerator.load_state,
    )

    def segment_watched(*args, **options):
        if next(images) == 1:
            watch.reach(POINTS[5])
        return segment(*args, **options)

    def read_watched(self, position):
        if torch.utils.data.get_worker_info() is not None and position % 2 == 1:
            watch.reach(POINTS[6])
        return read(self, position)

    def write_watched(recipe, folder):
        for name, point in ((".best.tmp", POINTS[7]), (".model.tmp", POINTS[8])):
            if folder.name == name:
                watch.reach(point)
        write_recipe(recipe, folder)

    def load_watched(self, *args, **options):
        load_state(self, *args, **options)
        watch.reach(POINTS[9])

    replace_for_good(evaluation, "segment", segment_watched)
    replace_for_good(stream.TrainingDataset, "__getitem__", read_watched)
    replace_for_good(checkpoint, "write_recipe", write_watched)
    replace_for_good(Accelerator, "load_state", load_watched)
    assert checkpoint.Accelerator is Accelerator
