"""An endless sequence of training samples from a dataset with random access, and the part that each process reads.

Sample number p of a run depends only on the seed and p: the order of its epoch gives the image, and a separate
generator draws its augmentation. So the samples are the same for any number of processes and workers, and a resumed run
continues at its position.
"""

from __future__ import annotations

import signal
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
from datasets import Dataset
from torch.utils.data import DataLoader

from ..common.compat import end_workers
from .errors import DataError
from .numpy_rows import NumpyRows
from .sampling import Focus, Order, Shuffle
from .transforms import TrainingTransform

REPLACEMENTS = 10  # consecutive samples that may be unreadable


def to_sample(
    image: np.ndarray,
    label: np.ndarray,
    name: str,
    transform: TrainingTransform,
    rng: np.random.Generator,
    focus: Focus | None = None,
) -> dict:
    """A training sample: `pixel_values` (3, h, w) float32, `labels` (h, w) int64 and `name`."""
    pixel_values, labels = transform(image, label, rng, focus)
    return {"pixel_values": torch.from_numpy(pixel_values), "labels": torch.from_numpy(labels), "name": name}


class TrainingDataset(torch.utils.data.Dataset):
    """`dataset[p]` is sample number p of a run, as [`to_sample`] returns it; p isn't limited by the dataset's length.

    Apart from the dataset's table, which forked workers share, it holds 16 bytes per row: two epochs' orders.

    Args:
        dataset: from [`modeling_ocrnet.data.load`].
        transform: the augmentation.
        seed: of the order and the augmentations.
        skip: if an image can't be read, take the next one in the epoch's order; the sample's `skipped` holds the
            errors. The choice depends only on the position and the files.
        order: of the images; by default every image once in an epoch.
    """

    def __init__(
        self,
        dataset: Dataset,
        transform: TrainingTransform,
        seed: int,
        skip: bool = False,
        order: Order | None = None,
    ):
        self.dataset, self.transform, self.seed, self.skip = dataset, transform, seed, skip
        self.order = order or Shuffle(len(dataset), seed)
        self._rows = NumpyRows(dataset)
        self._items = lru_cache(maxsize=2)(self.order.items)

    def __getitem__(self, position: int) -> dict:
        epoch, offset = divmod(position, self.order.length)
        (image, label, name), focus, skipped = self._read(self._items(epoch), offset)
        rng = np.random.default_rng([self.seed, 1, position])
        return {**to_sample(image, label, name, self.transform, rng, focus), "skipped": skipped}

    def _read(self, items: np.ndarray, offset: int) -> tuple[tuple, Focus | None, list[str]]:
        skipped: list[str] = []
        while True:
            row, focus = self.order.where(int(items[(offset + len(skipped)) % len(items)]))
            try:
                return self._rows[row], focus, skipped
            except DataError as error:
                if not self.skip or len(skipped) == REPLACEMENTS:
                    raise
                skipped.append(str(error))

    def __getstate__(self):  # a cache can't be pickled to a worker
        return {**self.__dict__, "_items": None}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._items = lru_cache(maxsize=2)(self.order.items)


@dataclass(frozen=True)
class MicroBatchSampler:
    """The positions of one process's micro-batches from step `start` to `stop` - 1, in order.

    Step s of the run trains on the positions from s * global_batch to (s + 1) * global_batch - 1, for any number of
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
    """Initialise a data worker."""
    cv2.setNumThreads(0)  # the workers already run in parallel
    for name in ("SIGINT", "SIGTERM", "SIGUSR1"):
        # a signal to the whole process group must not end workers while the last step is being finished
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def training_batches(
    dataset: TrainingDataset, batches: MicroBatchSampler, workers: int, pin_memory: bool = False
) -> Generator[dict, None, None]:
    """This process's micro-batches: dicts of `pixel_values`, `labels`, `names` and `skipped`. `close()` ends the
    workers, which would keep the process from ending: they ignore the signal by which Python would end them."""
    loader = DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=collate,
        worker_init_fn=start_worker,
        pin_memory=pin_memory,
        generator=torch.Generator(),  # without it, creating a loader would change the RNG state of dropout
    )
    loaded = iter(loader)
    try:
        yield from loaded
    finally:
        end_workers(loaded)
