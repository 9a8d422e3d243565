"""Endless training batches from a streamed dataset, which has no random access.

A worker is a process that reads its share of the dataset, shuffles it in a buffer, decodes and augments it. A training
process takes micro-batches from its workers in turn. Every worker reads its share once per epoch, so together they
see every sample once. Each batch holds its worker's position; resuming needs nothing else.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Generator, Iterator

import numpy as np
import torch
from datasets import IterableDataset
from datasets.distributed import split_dataset_by_node
from torch.utils.data import DataLoader

from ..common.compat import end_workers
from .decoding import DataError, Decode
from .map_style import REPLACEMENTS, collate, start_worker, to_sample
from .numpy_rows import decode_row
from .transforms import TrainingTransform

logger = logging.getLogger(__name__)

Position = tuple[int, int]
"""A worker's position: its epoch, and the number of samples of that epoch that it has returned."""


class IterableTrainingDataset(torch.utils.data.IterableDataset):
    """The samples of one worker, as [`TrainingDataset`]'s, each with `position`: the worker's position after it.

    Args:
        rows: undecoded rows, with the columns `image`, `label` and `name`.
        decode: the rows' decoding.
        buffer_size: the size of the shuffle buffer, in undecoded rows. The order of the shards is shuffled too.
        worker, workers: the index of this worker, and the number of all workers. If the shards divide evenly, each
            worker reads whole shards; otherwise it reads all rows and keeps every `workers`-th.
        start: the position to continue from. Earlier samples of that epoch are read again, but not decoded.
        skip: leave out unreadable rows; `skipped` in the next sample holds their errors.
    """

    def __init__(
        self,
        rows: IterableDataset,
        decode: Decode,
        transform: TrainingTransform,
        seed: int,
        buffer_size: int,
        worker: int,
        workers: int,
        start: Position = (0, 0),
        skip: bool = False,
    ):
        self.rows = split_dataset_by_node(rows.shuffle(seed=seed, buffer_size=buffer_size), worker, workers)
        self.decode, self.transform, self.start, self.skip = decode, transform, start, skip
        self.key = [seed, 2, worker]  # seeds the augmentations

    def __iter__(self) -> Iterator[dict]:
        epoch, given = self.start
        skipped: list[str] = []
        while True:
            self.rows.set_epoch(epoch)
            for row in itertools.islice(self.rows, given, None):
                rng = np.random.default_rng([*self.key, epoch, given])
                given += 1
                try:
                    decoded = decode_row(row, self.decode)
                except DataError as error:
                    if not self.skip or len(skipped) == REPLACEMENTS:
                        raise
                    skipped.append(str(error))
                    continue
                sample = to_sample(*decoded, self.transform, rng)
                yield {**sample, "position": (epoch, given), "skipped": skipped}
                skipped = []
            if given == 0:
                raise DataError(
                    "a worker's share of the dataset is empty: give fewer data.workers, or more rows in each shard"
                )
            epoch, given = epoch + 1, 0


def streamed_batches(
    rows: IterableDataset,
    decode: Decode,
    transform: TrainingTransform,
    *,
    seed: int,
    buffer_size: int,
    micro_batch: int,
    workers: int,
    rank: int,
    processes: int,
    start: list[Position] | None = None,
    taken: int = 0,
    pin_memory: bool = False,
    skip: bool = False,
) -> Generator[dict, None, None]:
    """This process's micro-batches, endlessly: as [`training_batches`]'s, with `worker` and `position`.

    Args:
        workers: the number of processes that read for this one; with 0, it reads itself.
        start: the workers' positions, to continue from.
        taken: the number of micro-batches that this process took before; it determines which worker is next.
        skip: leave out unreadable rows.
    """
    count = max(1, workers)
    if rank == 0 and rows.num_shards % (count * processes):
        logger.warning(
            "%d shards don't divide evenly among %d workers, so each worker reads all rows and keeps its share. With a "
            "multiple of %d shards, or another data.workers, each would read only its own shards",
            rows.num_shards,
            count * processes,
            count * processes,
        )
    loaders = []
    for i in range(count):
        stream = IterableTrainingDataset(
            rows,
            decode,
            transform,
            seed,
            buffer_size,
            worker=rank * count + i,
            workers=count * processes,
            start=(start[i][0], start[i][1]) if start else (0, 0),
            skip=skip,
        )
        # one loader with one process for each worker, so that a resumed run can continue with any of them
        loader = DataLoader(
            stream,
            batch_size=micro_batch,
            num_workers=min(1, workers),
            collate_fn=_collate,
            worker_init_fn=start_worker,
            pin_memory=pin_memory,
            generator=torch.Generator(),  # as in training_batches
        )
        loaders.append(iter(loader))
    try:
        for turn in itertools.count(taken):
            yield {**next(loaders[turn % count]), "worker": turn % count}
    finally:
        for loaded in loaders:
            end_workers(loaded)


def _collate(samples: list[dict]) -> dict:
    return {**collate(samples), "position": samples[-1]["position"]}
