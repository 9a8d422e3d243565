"""Checks of a whole dataset before work starts."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from datasets import Dataset, config

from ..common.compat import transform_of
from .decoding import DataError, Decode
from .fingerprint import fingerprint
from .memory_mapped_store import memory_mapped_array
from .pair_checks import PairFacts, check_headers, check_pair

logger = logging.getLogger(__name__)

VERSION = 3  # of what is checked
SHOWN = 10  # problems that the message lists


@dataclass
class Findings:
    """What a check found that isn't wrong in itself.

    Args:
        rows: of the dataset.
        masks: that were decoded.
        pixels: of these, by class; the last are those that aren't labelled.
        assumed: one that holds the id that is ignored though nobody said so.
        turned: images that EXIF turns.
        turned_example: one of them.
        unusual: images decoded whose values are odd, a line each.
    """

    rows: int
    masks: int
    pixels: list[int]
    assumed: str | None
    turned: int
    turned_example: str | None
    unusual: list[str]


def check(dataset: Dataset, masks: int = 64, labelled: bool = False, tolerate: bool = False) -> Findings:
    """Check that every image and mask is there, that their headers agree, and that a sample of masks holds known ids.

    What passed is remembered in the cache of `datasets`, and not opened again while each file's size and time stay.
    What the labels make of it is said and judged by `modeling_ocrnet.data.class_checks`.

    Args:
        dataset: from [`load`].
        masks: how many rows, spread evenly, are decoded fully.
        labelled: every row must have a mask.
        tolerate: warn of rows with a problem, as long as there are others.

    Raises:
        DataError: lists the problems found, the first ten of them by name.
    """
    rows = len(dataset)
    if rows == 0:
        raise DataError("the dataset is empty")
    transform = transform_of(dataset)
    files = dataset.with_format(None)
    bare = [name for name, x in zip(files["name"][:], files["label"][:], strict=True) if x is None] if labelled else []
    if bare:
        raise DataError(f"{len(bare)} of {rows} images have no mask, {bare[0]} for one: training needs all of them")
    inside = files[0]["image"]["bytes"] is not None
    passed = None if inside else _note(files, transform, masks)
    if passed is not None and (remembered := _recall(passed)) is not None:
        return remembered
    sample = list(range(0, rows, max(1, rows // max(1, masks))))[:masks]
    if inside:
        files = files.select(sample)  # their headers can't be read without all the rest
    of_pair = partial(check_headers, by_color=bool(transform.labels.color_codes))
    undecoded = dataset.with_format(None)
    with ThreadPoolExecutor(16) as pool:
        headers = list(pool.map(of_pair, files["image"][:], files["label"][:], files["name"][:]))
        problems, facts = [problem for problem, _ in headers if problem], []
        if not problems or tolerate:
            facts = list(pool.map(lambda i: check_pair(undecoded[i], transform), sample))
        problems = problems or [x.problems[0] for x in facts if x.problems]
    findings = _summary(rows, facts, [turned for _, turned in headers if turned], len(transform.labels.trained))
    if problems:
        more = f"\n  and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        message = f"{len(problems)} of {rows} pairs have a problem:\n  " + "\n  ".join(problems[:SHOWN]) + more
        if not tolerate or len(problems) == rows:
            raise DataError(message)
        logger.warning("%s\nThey will be skipped", message)
    elif passed is not None:
        _remember(passed, findings)
    return findings


def check_sample(rows: Iterable[dict], decode: Decode, tolerate: bool = False) -> Findings:
    """Read the first rows of a stream in full: the others can't be known before they are read.

    Args:
        rows: undecoded.
        decode: their decoding.
        tolerate: warn of rows with a problem.

    Raises:
        DataError: for the first row that can't be trained on.
    """
    facts = [check_pair(row, decode) for row in rows]
    for x in facts:
        if x.pixels is None and not x.problems:
            x.problems.append(f"{x.name}: has no mask; training needs one for every image")
        if x.problems and not tolerate:
            raise DataError(x.problems[0])
        for problem in x.problems:
            logger.warning("will be skipped: %s", problem)
    return _summary(len(facts), facts, [x.name for x in facts if x.turned], len(decode.labels.trained))


def _summary(rows: int, facts: list[PairFacts], turned: list[str], classes: int) -> Findings:
    masks = [x for x in facts if x.pixels is not None]
    return Findings(
        rows,
        len(masks),
        sum((x.pixels for x in masks), np.zeros(classes + 1, np.int64)).tolist(),
        next((x.assumed for x in masks if x.assumed), None),
        len(turned),
        next(iter(turned), None),
        [x.unusual for x in facts if x.unusual],
    )


def _note(files: Dataset, transform: Decode, masks: int) -> Path | None:
    """The file that says what was found in these very files; `None` where one isn't there, or isn't a plain file."""
    pairs = list(zip(files["image"][:], files["label"][:], strict=True))
    paths = [x["path"] for pair in pairs for x in pair if x is not None]
    if any("://" in x for x in paths) or any(memory_mapped_array(image) is not None for image, _ in pairs[:1]):
        return None
    try:
        state = fingerprint(paths)
    except DataError:
        return None  # the check says which one, with all the others
    unlabelled = [i for i, (_, label) in enumerate(pairs) if label is None]
    labels = transform.labels
    meaning = (transform.train_ids, transform.value_range, labels.labels, labels.color_codes, labels.assumed_ignored)
    digest = hashlib.sha256(repr((VERSION, state, unlabelled, meaning, masks)).encode()).hexdigest()
    return Path(config.HF_DATASETS_CACHE) / "modeling_ocrnet" / "checked" / digest


def _recall(passed: Path) -> Findings | None:
    try:
        return Findings(**json.loads(passed.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # not there, or cut off by a crash
        return None


def _remember(passed: Path, findings: Findings) -> None:
    try:
        passed.parent.mkdir(parents=True, exist_ok=True)
        passed.write_text(json.dumps(asdict(findings)), encoding="utf-8")
    except OSError as error:
        logger.info("the next check will take as long: %s", error)
