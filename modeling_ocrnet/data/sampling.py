"""Orders of samples: which image each position of a run reads, and where in it the crop lies.

An order is an endless sequence of epochs of one length. Each epoch is a function of the seed and its number alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from .class_tiles import ClassTiles

Focus = tuple[int, int]
"""The point (x, y) in an image's pixels that a crop holds."""


class Order(Protocol):
    """`items(epoch)` are the samples of an epoch, `length` is their number, `where(item)` says what an item reads.

    `digest` tells apart what the order depends on in the masks, if it does.
    """

    @property
    def length(self) -> int: ...

    @property
    def digest(self) -> str | None: ...

    def items(self, epoch: int) -> np.ndarray: ...

    def where(self, item: int) -> tuple[int, Focus | None]: ...


@dataclass(frozen=True)
class Shuffle:
    """Every image once in an epoch."""

    rows: int
    seed: int
    digest: str | None = None

    @property
    def length(self) -> int:
        return self.rows

    def items(self, epoch: int) -> np.ndarray:
        """(length,) rows of the dataset."""
        return np.random.default_rng([self.seed, 0, epoch]).permutation(self.rows)

    def where(self, item: int) -> tuple[int, Focus | None]:
        """The row that an item reads, and no focus."""
        return item, None


@dataclass(frozen=True)
class ClassUniform:
    """A share of the samples for classes in turn, as in NVIDIA's semantic-segmentation; the others at random.

    An epoch has as many samples as the dataset has images. Each class has the same number of them, rounded down: crops
    around its points, of which none comes again before all have come. The rest are images, crops anywhere in them; none
    comes again before all have come. If classes outnumber their share of the samples, an epoch is as many times longer
    as gives each one sample.

    Samples that a class can't use, because it has no points or `max_repeats` is reached, are images at random too.
    (NVIDIA's epochs get shorter by the former.)

    Args:
        tiles: the classes' points.
        rows: number of images.
        seed: of the order.
        share: of the samples, for classes.
        max_repeats: how often one point may come in an epoch.
        chosen: the classes to draw for; `None`: all.
    """

    tiles: ClassTiles
    rows: int
    seed: int
    share: float = 0.5
    max_repeats: int = 10
    chosen: tuple[int, ...] | None = None

    @cached_property
    def classes(self) -> tuple[int, ...]:
        """The classes to draw for."""
        return tuple(range(self.tiles.classes)) if self.chosen is None else self.chosen

    @property
    def digest(self) -> str | None:
        return self.tiles.digest

    @cached_property
    def length(self) -> int:
        passes = max(1, int(len(self.classes) / (self.rows * self.share)))
        while not self._quota(passes * self.rows):
            passes += 1
        return passes * self.rows

    def _quota(self, length: int) -> int:
        return int(length * self.share / len(self.classes))

    @property
    def quota(self) -> int:
        """Number of samples of an epoch for each class that can use them all."""
        return self._quota(self.length)

    @cached_property
    def drawn(self) -> dict[int, int]:
        """Number of samples of an epoch for each class."""
        return {x: min(self.quota, self.max_repeats * int(self.tiles.counts[x])) for x in self.classes}

    def items(self, epoch: int) -> np.ndarray:
        """(length,) int64: rows of the dataset, and `rows` + indices of the classes' points."""
        rng = np.random.default_rng([self.seed, 3, epoch])
        parts = [_in_turn(rng, self.rows, self.length - sum(self.drawn.values()))]
        for index, count in self.drawn.items():
            points = _in_turn(rng, int(self.tiles.counts[index]), count)
            parts.append(self.rows + int(self.tiles.starts[index]) + points)
        return rng.permutation(np.concatenate(parts))

    def where(self, item: int) -> tuple[int, Focus | None]:
        """The row that an item reads, and the point that the crop holds, if it is one of a class."""
        if item < self.rows:
            return item, None
        _, row, x, y = self.tiles.table[item - self.rows].tolist()
        return row, (x, y)


def _in_turn(rng: np.random.Generator, things: int, count: int) -> np.ndarray:
    """`count` of the numbers below `things`: all of them as often as possible, and a random choice of the rest."""
    if not count:
        return np.empty(0, np.int64)
    times, rest = divmod(count, things)
    return np.concatenate([np.tile(np.arange(things), times), rng.choice(things, rest, replace=False)])


@dataclass(frozen=True)
class RepeatFactor:
    """Images with rare classes several times in an epoch, as in LVIS (Gupta et al. 2019).

    A class in a share f of the images repeats them by max(1, sqrt(threshold / f)), an image is repeated as its rarest
    class says. What comes after the point is the chance of one more: each epoch draws anew (by one random offset for
    all images in random order, so an epoch's length doesn't change).

    Args:
        factors: (images,) how often each image comes in an epoch, on average; 1 or more.
        seed: of the order.
        digest: of what the factors were computed from.
    """

    factors: np.ndarray
    seed: int
    digest: str | None = None

    @cached_property
    def length(self) -> int:
        return int(np.ceil(self.factors.sum() - 1e-6))

    def items(self, epoch: int) -> np.ndarray:
        """(length,) rows of the dataset."""
        rng = np.random.default_rng([self.seed, 4, epoch])
        order = rng.permutation(len(self.factors))
        # how many whole numbers lie in each image's part of the line
        ends = np.floor(np.cumsum(self.factors[order]) + rng.random()).astype(np.int64)
        times = np.diff(ends, prepend=0)
        times[times.argmin()] += self.length - times.sum()  # at most one
        return rng.permutation(np.repeat(order, times))

    def where(self, item: int) -> tuple[int, Focus | None]:
        """The row that an item reads, and no focus."""
        return item, None


def repeat_factors(
    tiles: ClassTiles, rows: int, threshold: float, max_repeats: int, chosen: tuple[int, ...] | None = None
) -> np.ndarray:
    """How often each image comes in an epoch of [`RepeatFactor`], (rows,) float64 from 1 to `max_repeats`.

    Args:
        tiles: at least one point for each class in each image that holds it.
        rows: number of images.
        threshold: classes in fewer than this share of the images are repeated.
        max_repeats: the most.
        chosen: the classes to repeat for; `None`: all.
    """
    factors = np.ones(rows)
    for index in range(tiles.classes) if chosen is None else chosen:
        held = np.zeros(rows, bool)
        held[tiles.table[tiles.starts[index] : tiles.starts[index + 1], 1]] = True
        if images := np.count_nonzero(held):
            repeats = min(max_repeats, max(1.0, (threshold * rows / images) ** 0.5))
            factors[held] = np.maximum(factors[held], repeats)
    return factors
