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

VERSION = 3  # of the checks; cached results of other versions aren't used
SHOWN = 10  # problems that the message lists


@dataclass
class Findings:
    """The result of a check: facts that aren't errors in themselves.

    Args:
        rows: number of rows of the dataset.
        masks: number of masks decoded.
        pixels: pixels in these masks by class; the last number is that of unlabelled pixels.
        assumed: a mask that holds the id that is ignored by default, if any does.
        turned: number of images that their EXIF orientation turns.
        turned_example: one of them.
        unusual: decoded images with unusual values, one line for each.
    """

    rows: int
    masks: int
    pixels: list[int]
    assumed: str | None
    turned: int
    turned_example: str | None
    unusual: list[str]


def check(dataset: Dataset, masks: int = 64, labelled: bool = False, tolerate: bool = False) -> Findings:
    """Check that all images and masks exist, that their headers agree, and that a sample of masks holds known ids.

    The result of a check that passed is kept in the cache of `datasets`. The files aren't opened again until a size or
    modification time changes. `modeling_ocrnet.data.class_checks` compares the findings with the list of classes.

    Args:
        dataset: from [`load`].
        masks: number of rows, evenly spaced, to decode completely.
        labelled: every row must have a mask.
        tolerate: only warn about rows with a problem, unless all rows have one.

    Raises:
        DataError: lists the problems found, the first ten by name.
    """
    rows = len(dataset)
    if rows == 0:
        raise DataError("the dataset is empty")
    transform = transform_of(dataset)
    files = dataset.with_format(None)
    bare = [name for name, x in zip(files["name"][:], files["label"][:], strict=True) if x is None] if labelled else []
    if bare:
        raise DataError(f"{len(bare)} of {rows} images have no mask, e.g. {bare[0]}: training needs one for each image")
    inside = files[0]["image"]["bytes"] is not None
    passed = None if inside else _note(files, transform, masks)
    if passed is not None and (remembered := _recall(passed)) is not None:
        return remembered
    sample = list(range(0, rows, max(1, rows // max(1, masks))))[:masks]
    if inside:
        files = files.select(sample)  # headers inside a table can't be read without reading the whole files
    of_pair = partial(check_headers, by_color=bool(transform.labels.color_codes), max_pixels=transform.max_pixels)
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
    """Check the first rows of a stream completely; the others can't be checked before they arrive.

    Args:
        rows: the first rows, undecoded.
        decode: their decoding.
        tolerate: only warn about rows with a problem.

    Raises:
        DataError: for the first row that can't be used for training.
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
        sum((x.pixels for x in facts if x.pixels is not None), np.zeros(classes + 1, np.int64)).tolist(),
        next((x.assumed for x in masks if x.assumed), None),
        len(turned),
        next(iter(turned), None),
        [x.unusual for x in facts if x.unusual],
    )


def _note(files: Dataset, transform: Decode, masks: int) -> Path | None:
    """The cache file with the result for exactly these files; `None` if one is missing, or isn't a plain file."""
    pairs = list(zip(files["image"][:], files["label"][:], strict=True))
    paths = [x["path"] for pair in pairs for x in pair if x is not None]
    if any("://" in x for x in paths) or any(memory_mapped_array(image) is not None for image, _ in pairs[:1]):
        return None
    try:
        state = fingerprint(paths)
    except DataError:
        return None  # the check names it, with all other problems
    unlabelled = [i for i, (_, label) in enumerate(pairs) if label is None]
    labels = transform.labels
    of_files = (transform.train_ids, transform.value_range, transform.max_pixels)
    meaning = (*of_files, labels.labels, labels.color_codes, labels.assumed_ignored)
    digest = hashlib.sha256(repr((VERSION, state, unlabelled, meaning, masks)).encode()).hexdigest()
    return Path(config.HF_DATASETS_CACHE) / "modeling_ocrnet" / "checked" / digest


def _recall(passed: Path) -> Findings | None:
    try:
        return Findings(**json.loads(passed.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # missing, or truncated by a crash
        return None


def _remember(passed: Path, findings: Findings) -> None:
    try:
        passed.parent.mkdir(parents=True, exist_ok=True)
        passed.write_text(json.dumps(asdict(findings)), encoding="utf-8")
    except OSError as error:
        logger.info("the result of this check can't be cached, so the next check will take as long: %s", error)
