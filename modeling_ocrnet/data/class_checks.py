"""Compares masks with the list of classes: finds classes without a pixel, and lists that contradict the masks."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from datasets import Dataset

from ..common.compat import transform_of
from ..common.names import SHOWN, first_names
from .dataset_checks import Findings
from .decoding import DataError, located
from .labels import LabelSet
from .pair_checks import PairFacts, check_mask_pixels

logger = logging.getLogger(__name__)

IN_FLIGHT = 64  # masks that are decoded before their content is checked


def log_findings(findings: Findings, labels: LabelSet, split: str) -> None:
    """Log the findings of a check that may be unintended."""
    masks, pixels = findings.masks, np.array(findings.pixels)
    if masks:
        logger.info("%s: %s", split, labelled_share_line(findings, labels))
    if masks and (missing := classes_without_pixels(pixels, labels)):
        also = f", and {labels.assumed_ignored} is ignored by default" if findings.assumed else ""
        logger.warning("%s: no pixel of %s in the %d masks read%s", split, first_names(missing), masks, also)
    for line in unusual_image_lines(findings.turned, findings.turned_example, findings.rows, findings.unusual):
        logger.warning("%s: %s", split, line)


def labelled_share_line(findings: Findings, labels: LabelSet) -> str:
    """A line on the masks read: how many classes they hold, and the share of ignored pixels."""
    pixels = np.array(findings.pixels)
    ignored = pixels[-1] / max(1, pixels.sum())
    held = np.count_nonzero(pixels[:-1])
    return (
        f"{findings.masks} of {findings.rows} masks read: {held} of {len(labels.names)} classes, "
        f"{ignored:.1%} of the pixels are ignored"
    )


def unusual_image_lines(turned: int, example: str | None, rows: int, unusual: list[str]) -> Iterator[str]:
    """Lines on images that their EXIF orientation turns, and on images with unusual values."""
    if turned:
        yield (
            f"EXIF turns {turned} of {rows} images, e.g. {example}: their masks are assumed to match the turned image, "
            "as viewers show it"
        )
    yield from unusual[:SHOWN]
    if len(unusual) > SHOWN:
        yield f"and {len(unusual) - SHOWN} more images with unusual values"


def classes_without_pixels(pixels: np.ndarray, labels: LabelSet) -> list[str]:
    """The names of classes without a pixel; `pixels` as [`count_pixels_by_class`] returns them."""
    return [name for name, count in zip(labels.names, pixels, strict=False) if not count]


def check_classes(labels: LabelSet, parts: Iterable[tuple[Dataset | None, Findings]]) -> None:
    """Refuse a list of classes that contradicts the masks.

    Before a class is reported as absent, all masks are read.

    Args:
        labels: those of a custom dataset; the classes of published datasets are known to be right.
        parts: each split with what [`check`] found in it; for a stream, `None` with what [`check_sample`] found.

    Raises:
        DataError: names the classes and the remedy.
    """
    parts = list(parts)
    pixels = np.sum([findings.pixels for _, findings in parts], axis=0)
    assumed = next((findings.assumed for _, findings in parts if findings.assumed), None)
    if not class_list_problem(labels, pixels, assumed):
        return
    logger.info(
        "no pixel of %s in the masks read so far: reading the others",
        first_names(classes_without_pixels(pixels, labels)),
    )
    for dataset, findings in parts:
        if dataset is None or findings.masks == findings.rows:
            continue
        for facts in _masks(dataset):
            pixels = pixels + facts.pixels
            assumed = assumed or facts.assumed
            if not classes_without_pixels(pixels, labels):
                return
    if problem := class_list_problem(labels, pixels, assumed):
        raise DataError(problem)


def class_list_problem(labels: LabelSet, pixels: np.ndarray, assumed: str | None) -> str | None:
    """Why a list of classes contradicts the masks, and the remedy; `None` if it doesn't.

    Args:
        labels: the list of classes.
        pixels: of all masks, as [`count_pixels_by_class`] returns them.
        assumed: a mask that holds the id that is ignored by default, if any does.
    """
    missing = classes_without_pixels(pixels, labels)
    if not missing or not pixels.sum():
        return None
    file = labels.origin
    unused = first_names(missing)
    if assumed is not None:
        return (
            f"{file}: no mask holds {unused}, but {assumed} holds {labels.assumed_ignored}, which is ignored "
            f'because no class has it: if it is a class, give it that id, {{"name": "{missing[-1]}", "id": '
            f"{labels.assumed_ignored}}}, and give the others their ids; if those pixels aren't labelled, set "
            f"ignore_ids [{labels.assumed_ignored}]"
        )
    if labels.counted_from_one and labels.names[-1] in missing:  # if ids count from 0, no mask holds the last one
        held = [x.id for x in labels.trained if pixels[x.train_id]]
        return (
            f"{file}: reduce_zero_label ignores 0 and counts classes from 1, so {len(labels.names)} names need as many "
            f"ids, but the masks hold {first_names([str(x) for x in held]) or 'none of them'}, and no pixel of "
            f"{unused}: leave reduce_zero_label out if 0 is the first class, or give each class its id"
        )
    return None


def require_labelled(dataset: Dataset, findings: Findings | None, split: str) -> None:
    """Refuse a split in which no pixel is labelled: it has no mean IoU.

    Args:
        dataset: the split, or a part of it.
        findings: the result of a check of exactly these rows, if they were checked.
        split: its name.

    Raises:
        DataError: if no pixel is labelled.
    """
    counts = (facts.pixels for facts in _masks(dataset) if facts.pixels is not None)
    if findings is not None and sum(findings.pixels[:-1]) > 0 or any(pixels[:-1].any() for pixels in counts):
        return
    masks = sum(x is not None for x in dataset.with_format(None)["label"][:])
    raise DataError(
        f"{split}: no pixel of its {len(dataset)} images is labelled ({masks} have masks, and every pixel of those is "
        "ignored), so nothing can be scored; give another split, or classes and ids that the masks hold"
    )


def _masks(dataset: Dataset) -> Iterator[PairFacts]:
    """The facts of each mask, in order. Unreadable masks are left out; training or evaluation will name them."""
    decode = transform_of(dataset)
    files = dataset.with_format(None).select_columns(["label", "name"])

    def read(row: int) -> PairFacts | None:
        file = files[row]
        facts = PairFacts(file["name"])
        if file["label"] is None:
            return None
        try:
            check_mask_pixels(located(file["label"], facts.name), decode, facts)
        except DataError as error:
            logger.debug("%s", error)
            return None
        return facts

    with ThreadPoolExecutor(16) as pool:
        for start in range(0, len(files), IN_FLIGHT):
            rows = range(start, min(start + IN_FLIGHT, len(files)))
            yield from (x for x in pool.map(read, rows) if x is not None)
