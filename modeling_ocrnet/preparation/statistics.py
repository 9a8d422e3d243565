"""Reads every pair of a dataset once, counts its content, and lists all problems with it."""

from __future__ import annotations

import hashlib
import io
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from tqdm import tqdm

from .. import data
from ..common.compat import transform_of
from ..common.names import first_names
from ..data.class_checks import class_list_problem, classes_without_pixels, unusual_image_lines
from ..data.labels import LabelSet
from ..data.pair_checks import PairFacts, check_pair
from ..data.pairs import check_split

CHUNK = 256  # pairs that are read before their facts are added up; this bounds the memory


@dataclass
class SplitStatistics:
    """The statistics of a split. All counts are over the pairs without a problem.

    Args:
        name: of the split.
        classes: number of classes. Unlabelled pixels are counted as one more class, the last.
        rows: the dataset; `None` if it couldn't be found.
        examined: number of pairs read.
        problems: errors, one line for each.
        sound: the rows without a problem.
        sizes: the number of images of each size (width, height).
        pixels: (classes + 1,) number of pixels by class.
        images: (classes + 1,) number of masks that contain each class.
        context: (classes + 1,) number of labelled pixels in those masks.
        masks: number of masks read.
        empty: names of masks without any labelled pixel.
        uniform: names of masks with a single class, each with that class.
        assumed: a mask that holds the id that is ignored by default, if any does.
        turned: images that EXIF turns.
        unusual: images with unusual values, one line for each.
    """

    name: str
    classes: int
    rows: Dataset | None = None
    examined: int = 0
    problems: list[str] = field(default_factory=list)
    sound: list[int] = field(default_factory=list)
    sizes: Counter = field(default_factory=Counter)
    pixels: np.ndarray = field(init=False)
    images: np.ndarray = field(init=False)
    context: np.ndarray = field(init=False)
    masks: int = 0
    empty: list[str] = field(default_factory=list)
    uniform: list[tuple[str, int]] = field(default_factory=list)
    assumed: str | None = None
    turned: list[str] = field(default_factory=list)
    unusual: list[str] = field(default_factory=list)

    def __post_init__(self):
        self.pixels, self.images, self.context = np.zeros((3, self.classes + 1), np.int64)

    @property
    def labelled(self) -> int:
        """The number of labelled pixels."""
        return int(self.pixels[:-1].sum())

    def share(self, index: int) -> float:
        """A class's share of the labelled pixels; for unlabelled pixels, their share of all pixels."""
        total = self.pixels.sum() if index == self.classes else self.labelled
        return float(self.pixels[index] / max(total, 1))

    def add(self, row: int, pair: PairFacts) -> None:
        self.examined += 1
        self.problems += pair.problems
        if pair.turned:
            self.turned.append(pair.name)
        if pair.unusual:
            self.unusual.append(pair.unusual)
        if pair.problems:
            return
        self.sound.append(row)
        self.sizes[pair.size] += 1
        if pair.pixels is None:
            return
        self.masks += 1
        self.assumed = self.assumed or pair.assumed
        self.pixels += pair.pixels
        classes = np.flatnonzero(pair.pixels[:-1])
        self.images += pair.pixels > 0
        self.context[classes] += pair.pixels[classes].sum()
        if len(classes) == 0:
            self.empty.append(pair.name)
        elif len(classes) == 1:
            self.uniform.append((pair.name, int(classes[0])))


@dataclass
class DatasetStatistics:
    """The statistics of a dataset.

    Args:
        dataset: its name.
        root: the folder that was read.
        labels: its classes.
        splits: the statistics of each split.
        errors: problems that must be fixed before training, one line for each.
        warnings: findings that may be intended, one line for each.
        notes: for each split, a line with the classes that no mask holds.
    """

    dataset: str
    root: str
    labels: LabelSet
    splits: list[SplitStatistics]
    errors: list[str]
    warnings: list[str]
    notes: list[str]


def collect_statistics(
    source: data.DataSource, splits: Sequence[str], limit: int | None = None, workers: int = 8
) -> DatasetStatistics:
    """Read all pairs of some splits. A problem with one pair is recorded, and the others are read.

    Args:
        source: the dataset.
        splits: the names of the splits.
        limit: read at most this many pairs of each split, evenly spaced.
        workers: number of threads that read and decode.

    Raises:
        ValueError: if the published dataset doesn't have a split.
        DataError: if a custom dataset doesn't define its classes.
    """
    labels = data.label_set(source)
    for split in () if source.name in data.CUSTOM_DATASETS else splits:
        check_split(split, data.published(source.name).splits)
    found: list[SplitStatistics] = []
    files: defaultdict[Any, list] = defaultdict(list)  # for each content, where it occurs, as (split, name)
    with ThreadPoolExecutor(workers) as pool:
        for split in dict.fromkeys(splits):
            try:
                rows = data.load(source, split=split)
            except data.DataError as error:
                found.append(SplitStatistics(split, len(labels.names), problems=[str(error)]))
            else:
                found.append(_read(rows, split, files, limit, pool))
                found[-1].problems += [f"{x}: a mask without an image" for x in _strays(source, split)]
    errors = [f"{split.name}: {problem}" for split in found for problem in split.problems]
    warnings = [f"{split.name}: {x}: no pixel is labelled" for split in found for x in split.empty]
    names = labels.names
    warnings += [f"{split.name}: {x}: only {names[k]} is labelled" for split in found for x, k in split.uniform]
    warnings += [
        f"{split.name}: {line}"
        for split in found
        for line in unusual_image_lines(
            len(split.turned), next(iter(split.turned), None), split.examined, split.unusual
        )
    ]
    notes = [
        f"{split.name}: no mask holds {first_names(missing)}"
        for split in found
        if split.masks and (missing := classes_without_pixels(split.pixels, labels))
    ]
    pixels = np.sum([split.pixels for split in found], axis=0)
    if problem := class_list_problem(labels, pixels, next((x.assumed for x in found if x.assumed), None)):
        errors.append(problem)
    more_errors, more_warnings = _duplicates(files)
    root = source.root or source.path or str(source.folder)
    return DatasetStatistics(source.name, root, labels, found, errors + more_errors, warnings + more_warnings, notes)


def _strays(source: data.DataSource, split: str) -> Sequence[Path | str]:
    """Masks without an image. (Loading refuses custom datasets that have any.)"""
    if source.name in data.CUSTOM_DATASETS:
        return ()
    return data.published(source.name).find(source.folder, split).strays


def _read(rows: Dataset, name: str, files: dict, limit: int | None, pool: ThreadPoolExecutor) -> SplitStatistics:
    decode, undecoded = transform_of(rows), rows.with_format(None)
    split = SplitStatistics(name, len(decode.labels.names), rows)

    def check(row: int) -> tuple[PairFacts, bytes | None]:
        facts = check_pair(undecoded[row], decode)
        return facts, None if facts.size is None else _digest(undecoded[row]["image"])

    count = len(rows) if limit is None else min(limit, len(rows))
    order = [i * len(rows) // count for i in range(count)]
    with tqdm(total=count, desc=f"reading {name}", unit="pair", disable=None) as bar:
        for start in range(0, count, CHUNK):
            chunk = order[start : start + CHUNK]
            for row, (pair, digest) in zip(chunk, pool.map(check, chunk), strict=True):
                split.add(row, pair)
                if digest is not None:
                    files[digest].append((name, pair.name))
                bar.update()
    return split


def _digest(source: dict) -> bytes:
    """The digest of a file's content, which isn't read into memory as a whole."""
    with io.BytesIO(source["bytes"]) if source["bytes"] is not None else open(source["path"], "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest()


def _duplicates(files: dict[bytes, list[tuple[str, str]]]) -> tuple[list[str], list[str]]:
    """Errors and warnings about images that occur more than once.

    The same content in several splits is an error, because a score on training images means nothing. All others are
    warnings. The same name in several splits is one too, unless it is a number: names often encode place and time.
    """
    errors, warnings, names = [], [], defaultdict(set)
    reported: set[Any] = set()
    for places in files.values():
        text = ", ".join(f"{split}/{name}" for split, name in places)
        if len({split for split, _ in places}) > 1:
            errors.append(f"the same image in several splits: {text}")
            reported.update(name for _, name in places)
        elif len(places) > 1:
            warnings.append(f"the same image several times: {text}")
        for split, name in places:
            names[name].add(split)
    for name, splits in names.items():
        if len(splits) > 1 and name not in reported and not name.isdigit():
            warnings.append(f"{name}: different images of this name are in {', '.join(sorted(splits))}")
    return errors, warnings
