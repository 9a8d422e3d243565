"""Training samples of a dataset with random access, endlessly, and which of them a process reads.

Sample number p of a run is a function of the seed and p alone: its image by the permutation of its epoch, its
augmentation by a generator of its own. So samples are the same for any number of processes and workers, and a run that
is resumed simply goes on at its position.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
from datasets import Dataset
from torch.utils.data import DataLoader

from .errors import DataError
from .numpy_rows import NumpyRows
from .transforms import TrainingTransform

REPLACEMENTS = 10  # samples in a row that may be unreadable


def to_sample(
    image: np.ndarray, label: np.ndarray, name: str, transform: TrainingTransform, rng: np.random.Generator
) -> dict:
    """A training sample: `pixel_values` (3, h, w) float32, `labels` (h, w) int64 and `name`."""
    pixel_values, labels = transform(image, label, rng)
    return {"pixel_values": torch.from_numpy(pixel_values), "labels": torch.from_numpy(labels), "name": name}


class TrainingDataset(torch.utils.data.Dataset):
    """`dataset[p]`: sample number p of a run, as [`to_sample`] makes it; p may be as large as the run is long.

    Beside the dataset's own table, of which forked workers share one copy, it holds 16 bytes a row: two permutations.

    Args:
        skip: if an image can't be read, take the one after it in the epoch's order; the sample's `skipped` says what
            was wrong. Which one that is depends on the position and the files alone.
    """

    def __init__(self, dataset: Dataset, transform: TrainingTransform, seed: int, skip: bool = False):
        self.dataset, self.transform, self.seed, self.skip = dataset, transform, seed, skip
        self._rows = NumpyRows(dataset)
        self._permutation = lru_cache(maxsize=2)(self._permute)

    def _permute(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, 0, epoch]).permutation(len(self.dataset))

    def __getitem__(self, position: int) -> dict:
        epoch, offset = divmod(position, len(self.dataset))
        row, skipped = self._read(self._permutation(epoch), offset)
        sample = to_sample(*row, self.transform, np.random.default_rng([self.seed, 1, position]))
        return {**sample, "skipped": skipped}

    def _read(self, order: np.ndarray, offset: int) -> tuple[tuple, list[str]]:
        skipped: list[str] = []
        while True:
            try:
                return self._rows[int(order[(offset + len(skipped)) % len(order)])], skipped
            except DataError as error:
                if not self.skip or len(skipped) == REPLACEMENTS:
                    raise
                skipped.append(str(error))

    def __getstate__(self):  # a cache can't be pickled to a worker
        return {**self.__dict__, "_permutation": None}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._permutation = lru_cache(maxsize=2)(self._permute)


@dataclass(frozen=True)
class MicroBatchSampler:
    """The positions of one process's micro-batches from step `start` on, in order.

    Step s of the run trains on positions s * global_batch ... (s + 1) * global_batch - 1, whatever the number of
    processes.
    """

    global_batch: int
    micro_batch: int
    rank: int
    processes: int
    start: int
    stop: int

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.start, self.stop):
            first = step * self.global_batch + self.rank * self.micro_batch
            last = (step + 1) * self.global_batch
            for position in range(first, last, self.micro_batch * self.processes):
                yield list(range(position, position + self.micro_batch))

    def __len__(self) -> int:
        return (self.stop - self.start) * self.global_batch // (self.micro_batch * self.processes)


def collate(samples: list[dict]) -> dict:
    batch = {key: torch.stack([x[key] for x in samples]) for key in ("pixel_values", "labels")}
    return {**batch, "names": [x["name"] for x in samples], "skipped": [y for x in samples for y in x["skipped"]]}


def start_worker(_: int) -> None:
    """What a data worker does first."""
    cv2.setNumThreads(0)  # workers are the parallelism
    for name in ("SIGINT", "SIGTERM", "SIGUSR1"):
        # a signal to the whole group must not take workers away from a step that is being finished
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def training_loader(
    dataset: TrainingDataset, batches: MicroBatchSampler, workers: int, pin_memory: bool = False
) -> DataLoader:
    """A loader of this process's micro-batches: dicts of `pixel_values`, `labels`, `names` and `skipped`."""
    return DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=collate,
        worker_init_fn=start_worker,
        pin_memory=pin_memory,
        generator=torch.Generator(),  # its own: a resumed run's dropout must not depend on how often loaders were made
    )
