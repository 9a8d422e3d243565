"""Reading every pair of a dataset once: what is in it, and everything that is wrong with it."""

from __future__ import annotations

import hashlib
import io
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from datasets import Dataset
from tqdm import tqdm

from .. import data
from ..data.checks import header_problem
from ..data.errors import size_problem
from ..data.labels import IGNORE, LabelSet
from ..data.pairs import check_split

CHUNK = 256  # pairs in flight: what they tell is added up before more are read, or memory would grow with the dataset


@dataclass
class Pair:
    """What one pair tells: its problems, (width, height), pixels by train id (256,), and a hash of the image's file."""

    name: str
    problems: list[str]
    size: tuple[int, int] | None = None
    counts: np.ndarray | None = None
    digest: bytes | None = None


def _array() -> np.ndarray:
    return np.zeros(256, np.int64)


@dataclass
class Split:
    """A split, added up. Whatever is counted is counted over the pairs without a problem.

    Args:
        name: of the split.
        rows: the dataset; `None` where it couldn't be found.
        examined: pairs read.
        problems: what is wrong, a line each.
        sound: the rows without a problem.
        sizes: how often each (width, height) of an image occurs.
        pixels: (256,) pixels by train id; 255 are those that aren't labelled.
        images: (256,) masks by the train ids in them.
        context: (256,) labelled pixels of those masks.
        masks: masks read.
        empty: names of masks without any labelled pixel.
        uniform: names of masks of a single class, and that class.
    """

    name: str
    rows: Dataset | None = None
    examined: int = 0
    problems: list[str] = field(default_factory=list)
    sound: list[int] = field(default_factory=list)
    sizes: Counter = field(default_factory=Counter)
    pixels: np.ndarray = field(default_factory=_array)
    images: np.ndarray = field(default_factory=_array)
    context: np.ndarray = field(default_factory=_array)
    masks: int = 0
    empty: list[str] = field(default_factory=list)
    uniform: list[tuple[str, int]] = field(default_factory=list)

    @property
    def labelled(self) -> int:
        """Labelled pixels."""
        return int(self.pixels[:IGNORE].sum())

    def share(self, train_id: int) -> float:
        """A class's share of the labelled pixels; of all pixels for those that aren't labelled (255)."""
        total = self.pixels.sum() if train_id == IGNORE else self.labelled
        return float(self.pixels[train_id] / max(total, 1))

    def add(self, row: int, pair: Pair) -> None:
        self.examined += 1
        self.problems += pair.problems
        if pair.problems:
            return
        self.sound.append(row)
        self.sizes[pair.size] += 1
        if pair.counts is None:
            return
        self.masks += 1
        self.pixels += pair.counts
        present = np.flatnonzero(pair.counts)
        classes = present[present != IGNORE]
        self.images[present] += 1
        self.context[classes] += pair.counts[classes].sum()
        if len(classes) == 0:
            self.empty.append(pair.name)
        elif len(classes) == 1:
            self.uniform.append((pair.name, int(classes[0])))


@dataclass
class Survey:
    """What is in a dataset.

    Args:
        dataset: its name.
        root: the folder that was looked at.
        labels: its classes.
        splits: what each holds.
        errors: what must be put right before training, a line each.
        warnings: what may be right.
    """

    dataset: str
    root: str
    labels: LabelSet
    splits: list[Split]
    errors: list[str]
    warnings: list[str]


def survey(source: data.DataSource, splits: list[str], limit: int | None = None, workers: int = 8) -> Survey:
    """Read all pairs of some splits, and go on whatever is wrong with one.

    Args:
        source: which dataset.
        splits: names of splits.
        limit: read only so many pairs of a split, spread evenly.
        workers: threads that read and decode.

    Raises:
        ValueError: for a split that the published dataset doesn't have.
        DataError: where own data doesn't say what its classes are.
    """
    labels = data.label_set(source)
    for split in () if source.name in data.OWN else splits:
        check_split(split, data.reader(source.name).SPLITS)
    found, files = [], defaultdict(list)  # files: where each content occurs, as (split, name)
    with ThreadPoolExecutor(workers) as pool:
        for split in dict.fromkeys(splits):
            try:
                rows = data.load(source, split=split)
            except data.DataError as error:
                found.append(Split(split, problems=[str(error)]))
            else:
                found.append(_read(rows, split, files, limit, pool))
                found[-1].problems += [f"{x}: a mask without an image" for x in _strays(source, split)]
    errors = [f"{split.name}: {problem}" for split in found for problem in split.problems]
    warnings = [f"{split.name}: {x}: no pixel is labelled" for split in found for x in split.empty]
    names = labels.names
    warnings += [f"{split.name}: {x}: only {names[k]} is labelled" for split in found for x, k in split.uniform]
    more_errors, more_warnings = _duplicates(files)
    root = source.root or source.path or data.reader(source.name).DEFAULT_ROOT
    return Survey(source.name, root, labels, found, errors + more_errors, warnings + more_warnings)


def _strays(source: data.DataSource, split: str) -> Sequence[Path | str]:
    """Masks without an image. Own data that has some isn't loaded at all."""
    if source.name in data.OWN:
        return ()
    reader = data.reader(source.name)
    return reader.find(Path(source.root or reader.DEFAULT_ROOT).expanduser(), split).strays


def _read(rows: Dataset, name: str, files: dict, limit: int | None, pool: ThreadPoolExecutor) -> Split:
    split, examine = Split(name, rows), Examine(rows)
    count = len(rows) if limit is None else min(limit, len(rows))
    order = [i * len(rows) // count for i in range(count)]
    with tqdm(total=count, desc=f"reading {name}", unit="pair", disable=None) as bar:
        for start in range(0, count, CHUNK):
            chunk = order[start : start + CHUNK]
            for row, pair in zip(chunk, pool.map(examine, chunk), strict=True):
                split.add(row, pair)
                if pair.digest is not None:
                    files[pair.digest].append((name, pair.name))
                bar.update()
    return split


class Examine:
    """Row number to [`Pair`]: image and mask decoded each by itself, so that one's problem doesn't hide the other's."""

    def __init__(self, rows: Dataset):
        self.images, self.labels = rows.select_columns(["image", "name"]), rows.select_columns(["label", "name"])
        self.files = rows.with_format(None)
        self.by_color = bool(rows.format["format_kwargs"]["transform"].labels.color_codes)

    def __call__(self, row: int) -> Pair:
        files = self.files[row]
        pair = Pair(files["name"], [])
        image = self._decode(self.images, "image", row, pair)
        label = self._decode(self.labels, "label", row, pair)
        path = None if files["label"] is None else files["label"]["path"]
        if image is not None:
            pair.size = image.size
            pair.digest = _digest(files["image"])
        if label is not None:
            pair.counts = np.bincount(np.asarray(label).ravel(), minlength=256)
        problem = None
        if image is not None and label is not None:
            problem = size_problem(path, label.size, image.size)
        elif pair.problems:
            # a mask of unknown ids still has a size
            problem = header_problem(files["image"], files["label"], files["name"], self.by_color)
        if problem is not None and problem not in pair.problems:
            pair.problems.append(problem)
        return pair

    @staticmethod
    def _decode(column: Dataset, name: str, row: int, pair: Pair):
        try:
            return column[row][name]
        except data.DataError as error:
            pair.problems.append(str(error))
            return None


def _digest(source: dict) -> bytes:
    """Of a file's content, read piece by piece."""
    with io.BytesIO(source["bytes"]) if source["bytes"] is not None else open(source["path"], "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest()


def _duplicates(files: dict[bytes, list[tuple[str, str]]]) -> tuple[list[str], list[str]]:
    """One content in several splits is an error: a score on seen images says nothing. The rest is for a person.

    A name in several splits tells something unless it is a mere number: frames are named by place and time.
    """
    errors, warnings, names, reported = [], [], defaultdict(set), set()
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
