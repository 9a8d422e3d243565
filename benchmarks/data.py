"""How fast training samples are made, in turn with another pipeline, on the same frames."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import cv2
import torch

from modeling_ocrnet import data
from modeling_ocrnet.data.decoding import DataError
from modeling_ocrnet.data.map_style import TrainingDataset
from modeling_ocrnet.data.transforms import TrainingTransform
from modeling_ocrnet.errors import UserError
from modeling_ocrnet.preparation.export_dataset import export

from .paired import process, summarize, table
from .random_frames import write_frames

PEER = Path(__file__).parent / "peers" / "mmseg_data.py"


def data_benchmark(
    peer: str | None = None,
    frames: int = 12,
    root: str | None = None,
    rounds: int = 9,
    samples: int = 12,
) -> list[dict]:
    """Training samples a second and core, from PNG and from a memory-mapped store: 512x1024 crops of 2048x1024 frames.

    One process and one thread each; a round times every side once, so that a ratio compares neighbours in time.

    Args:
        peer: A Python that has mmsegmentation 1.x, to be timed in turn (null: only ourselves).
        frames: Street scenes to draw, with a sensor's noise: PNGs of about 2.5 MB.
        root: A Cityscapes folder to take instead (with labelTrainIds files, if there is a peer).
        rounds: Rounds of the comparison.
        samples: Samples that a round takes of each side.

    Returns:
        A record for each round and side, and last the ratios: medians, and quartiles as their spread.

    Raises:
        ValueError, DataError, OSError: for arguments or folders that can't be.
    """
    if min(frames, rounds, samples) < 1:
        raise UserError("frames, rounds and samples must be positive")
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder = Path(root) if root is not None else write_frames(work, frames)
        raw = export("cityscapes", str(work / "raw"), str(folder), "train", store="raw")
        sides = {"png": _ours(folder, samples), "raw": _ours(raw, samples), "decode": _decode(folder, samples)}
        if peer is not None:
            sides["mmsegmentation"] = stack.enter_context(_peer(peer, folder, samples))
        records = []
        for turn in range(-1, rounds):  # the first one warms up
            for side, seconds in sides.items():
                record = {"round": turn, "side": side, "seconds_per_sample": seconds() / samples}
                if turn >= 0:
                    records.append(record)
                    print(json.dumps(record), flush=True)
        times = {side: [x["seconds_per_sample"] for x in records if x["side"] == side] for side in sides}
        summary = summarize(times, "mmsegmentation" if peer is not None else "png")
        summary["memory"] = worker_memory()
    print(json.dumps(summary), flush=True)
    print(table(summary, "a sample"))
    memory = ", ".join(f"{rows} rows: {mb:.1f} MB" for rows, mb in summary["memory"].items())
    print(f"a worker's own memory after 200 reads, {memory}")
    return [*records, summary]


def _ours(root: Path, samples: int) -> Callable[[], float]:
    stream = TrainingDataset(
        data.load("cityscapes", root, "train"), TrainingTransform((512, 1024), (2048, 1024)), seed=0
    )
    position = 0

    def timed() -> float:
        nonlocal position
        start = time.perf_counter()
        for _ in range(samples):
            stream[position]
            position += 1
        return time.perf_counter() - start

    return timed


def _decode(root: Path, samples: int) -> Callable[[], float]:
    """Nothing but OpenCV's decoding of whole files."""
    files = data.load("cityscapes", root, "train").with_format(None)
    pairs = [(x["path"], y["path"]) for x, y in zip(files["image"], files["label"], strict=True)]

    def timed() -> float:
        start = time.perf_counter()
        for i in range(samples):
            for path in pairs[i % len(pairs)]:
                cv2.imread(path, cv2.IMREAD_UNCHANGED)
        return time.perf_counter() - start

    return timed


@contextmanager
def _peer(python: str, root: Path, samples: int) -> Iterator[Callable[[], float]]:
    one_thread = {"OMP_NUM_THREADS": "1"}
    with process([python, str(PEER), str(root.resolve())], "mmsegmentation", one_thread) as (ready, ask):
        if not ready["frames"]:
            raise DataError(f"{root}: mmsegmentation finds no frames there")
        yield lambda: ask(str(samples))["seconds"]


def worker_memory(sizes: tuple[int, ...] = (1_000, 100_000), reads: int = 200) -> dict[int, float]:
    """How much memory a forked worker comes to own, in MB, by the number of rows of its dataset.

    What it shares with its parent isn't counted: that is there once.
    """
    from datasets import Dataset, Features, Image, Value
    from PIL import Image as PILImage

    from modeling_ocrnet.data.decoding import Decode

    features = Features(image=Image(decode=False), label=Image(decode=False), name=Value("string"))
    decode = Decode(data.label_set("cityscapes"))
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        image, label = f"{folder}/image.png", f"{folder}/label.png"
        PILImage.new("RGB", (64, 32)).save(image)
        PILImage.new("L", (64, 32), 7).save(label)
        for rows in sizes:
            names = [f"{i:012d}" for i in range(rows)]
            columns = {"image": [image] * rows, "label": [label] * rows, "name": names}
            dataset = Dataset.from_dict(columns, features=features).with_transform(decode)
            del columns, names
            found[rows] = _own_memory(TrainingDataset(dataset, TrainingTransform((32, 64), (64, 32)), 0), reads)
    return found


def _own_memory(stream: TrainingDataset, reads: int) -> float:
    """MB of pages that a forked child doesn't share, after reading from the whole stream."""
    import psutil

    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            cv2.setNumThreads(0)  # threads don't live on in a fork
            for position in range(0, len(stream.dataset), max(1, len(stream.dataset) // reads)):
                stream[position]
            os.write(send, str(psutil.Process().memory_full_info().uss).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(send)
    with os.fdopen(receive) as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return int(answer) / 2**20
