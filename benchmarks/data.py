"""Times the creation of training samples in turn with another pipeline, on the same frames."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import cv2
import torch

from modeling_ocrnet import data
from modeling_ocrnet.common.errors import UserError
from modeling_ocrnet.data.decoding import DataError
from modeling_ocrnet.data.map_style import TrainingDataset
from modeling_ocrnet.data.transforms import TrainingTransform
from modeling_ocrnet.preparation.export_dataset import export

from .contender import start_contender
from .noisy_frames import write_noisy_frames
from .paired import by_contender, run_rounds, summarize, table
from .worker_memory import worker_memory

PEER = Path(__file__).parent / "peers" / "mmseg_data.py"


def data_benchmark(
    peer: str | None = None,
    frames: int = 12,
    root: str | None = None,
    rounds: int = 9,
    samples: int = 12,
) -> list[dict]:
    """Training samples per second and core, from PNG and from a memory-mapped store: 512x1024 crops of 2048x1024
    frames.

    Each contender has one process and one thread. A round times every contender once, so a ratio compares measurements
    that are close in time.

    Args:
        peer: A Python with mmsegmentation 1.x, to be timed in turn (null: only this project).
        frames: Number of street scenes to draw, with sensor noise: PNGs of about 2.5 MB.
        root: A Cityscapes folder to use instead (with labelTrainIds files, if there is a peer).
        rounds: Rounds of the comparison.
        samples: Samples of each contender in a round.

    Returns:
        A record for each round and contender; the last record has the ratios: medians, and quartiles as their spread.

    Raises:
        ValueError, DataError, OSError: for invalid arguments or folders.
    """
    if min(frames, rounds, samples) < 1:
        raise UserError("frames, rounds and samples must be positive")
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder = Path(root) if root is not None else write_noisy_frames(work, frames)
        raw = export("cityscapes", str(work / "raw"), str(folder), "train", store="raw")
        contenders = {"png": _ours(folder, samples), "raw": _ours(raw, samples), "decode": _decode(folder, samples)}
        if peer is not None:
            contenders["mmsegmentation"] = stack.enter_context(_peer(peer, folder, samples))
        records = run_rounds(contenders, rounds, warm_up=1)
        times = by_contender(records, "seconds_per_sample")
        summary = summarize(times, "mmsegmentation" if peer is not None else "png")
        summary["memory"] = worker_memory()
    print(json.dumps(summary), flush=True)
    print(table(summary, "per sample"))
    memory = ", ".join(f"{rows} rows: {mb:.1f} MB" for rows, mb in summary["memory"].items())
    print(f"a worker's unshared memory after 200 reads, {memory}")
    return [*records, summary]


def _ours(root: Path, samples: int) -> Callable[[], dict]:
    stream = TrainingDataset(
        data.load("cityscapes", root, "train"), TrainingTransform((512, 1024), (2048, 1024)), seed=0
    )
    position = 0

    def timed() -> dict:
        nonlocal position
        start = time.perf_counter()
        for _ in range(samples):
            stream[position]
            position += 1
        return {"seconds_per_sample": (time.perf_counter() - start) / samples}

    return timed


def _decode(root: Path, samples: int) -> Callable[[], dict]:
    """Only the decoding of whole files by OpenCV."""
    files = data.load("cityscapes", root, "train").with_format(None)
    pairs = [(x["path"], y["path"]) for x, y in zip(files["image"], files["label"], strict=True)]

    def timed() -> dict:
        start = time.perf_counter()
        for i in range(samples):
            for path in pairs[i % len(pairs)]:
                cv2.imread(path, cv2.IMREAD_UNCHANGED)
        return {"seconds_per_sample": (time.perf_counter() - start) / samples}

    return timed


@contextmanager
def _peer(python: str, root: Path, samples: int) -> Iterator[Callable[[], dict]]:
    one_thread = {"OMP_NUM_THREADS": "1"}
    with start_contender([python, str(PEER), str(root.resolve())], "mmsegmentation", one_thread) as (ready, ask):
        if not ready["frames"]:
            raise DataError(f"{root}: mmsegmentation finds no frames there")
        yield lambda: {"seconds_per_sample": ask(str(samples))["seconds"] / samples}
