"""Whether masks hold what the list of classes says: the classes that have no pixel, and lists that can't be meant."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from datasets import Dataset

from ..common.compat import transform_of
from .dataset_checks import Findings
from .decoding import DataError, located
from .labels import LabelSet
from .pair_checks import PairFacts, check_mask_pixels

logger = logging.getLogger(__name__)

IN_FLIGHT = 64  # masks that are decoded before what they hold is looked at
SHOWN = 10  # that a line lists


def log_findings(findings: Findings, labels: LabelSet, split: str) -> None:
    """Log what a check found that nobody may have meant."""
    masks, pixels = findings.masks, np.array(findings.pixels)
    if masks:
        logger.info("%s: %s", split, labelled_share_line(findings, labels))
    if masks and (missing := classes_without_pixels(pixels, labels)):
        also = f", and {labels.assumed_ignored} is ignored, though nobody said so" if findings.assumed else ""
        logger.warning("%s: no pixel of %s in the %d masks read%s", split, first_names(missing), masks, also)
    for line in unusual_image_lines(findings.turned, findings.turned_example, findings.rows, findings.unusual):
        logger.warning("%s: %s", split, line)


def labelled_share_line(findings: Findings, labels: LabelSet) -> str:
    """How much of the masks is labelled."""
    pixels = np.array(findings.pixels)
    ignored = pixels[-1] / max(1, pixels.sum())
    held = np.count_nonzero(pixels[:-1])
    return (
        f"{findings.masks} of {findings.rows} masks read: {held} of {len(labels.names)} classes, "
        f"{ignored:.1%} of the pixels are ignored"
    )


def unusual_image_lines(turned: int, example: str | None, rows: int, unusual: list[str]) -> Iterator[str]:
    """What is to be said of images that EXIF turns, and of those whose values are odd."""
    if turned:
        yield (
            f"EXIF turns {turned} of {rows} images, {example} for one: their masks are taken to be drawn on the turned "
            "image, as people see it"
        )
    yield from unusual[:SHOWN]
    if len(unusual) > SHOWN:
        yield f"and {len(unusual) - SHOWN} more images of unusual values"


def classes_without_pixels(pixels: np.ndarray, labels: LabelSet) -> list[str]:
    """The names of classes without a pixel; `pixels` as of [`count_pixels_by_class`]."""
    return [name for name, count in zip(labels.names, pixels, strict=False) if not count]


def first_names(names: list[str]) -> str:
    """The first of some names, and how many more there are."""
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def check_classes(labels: LabelSet, parts: Iterable[tuple[Dataset | None, Findings]]) -> None:
    """Refuse a list of classes that can't be what the masks mean.

    Whether a class occurs is looked up in all masks before it is said that it doesn't.

    Args:
        labels: one's own; what published datasets mean is known.
        parts: splits, and what [`check`] found in them; `None` and what [`check_sample`] found in a stream.

    Raises:
        DataError: naming the classes and the remedy.
    """
    parts = list(parts)
    pixels = sum(np.array(findings.pixels) for _, findings in parts)
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
    """Why a list of classes can't be what the masks mean, and the remedy; `None` where it can.

    Args:
        pixels: of all masks, as of [`count_pixels_by_class`].
        assumed: a mask that holds the id that is ignored though nobody said so.
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
            f"{labels.assumed_ignored}}}, and the others theirs; if nothing is labelled there, say so: ignore_ids "
            f"[{labels.assumed_ignored}]"
        )
    if labels.counted_from_one and labels.names[-1] in missing:  # counted from 0, the last would be one too many
        held = [x.id for x in labels.trained if pixels[x.train_id]]
        return (
            f"{file}: reduce_zero_label ignores 0 and counts classes from 1, so that {len(labels.names)} names need as "
            f"many ids, but the masks hold {first_names([str(x) for x in held]) or 'none of them'}, and nothing of "
            f"{unused}: leave reduce_zero_label out if 0 is the first class, or give each class its id"
        )
    return None


def require_labelled(dataset: Dataset, findings: Findings | None, split: str) -> None:
    """Refuse a split in which no pixel is labelled: there is no mean over nothing.

    Args:
        dataset: the split, or a part of it.
        findings: what a check of just that found, if there was one.
        split: its name.

    Raises:
        DataError: saying so.
    """
    if findings is not None and sum(findings.pixels[:-1]) or any(facts.pixels[:-1].any() for facts in _masks(dataset)):
        return
    masks = sum(x is not None for x in dataset.with_format(None)["label"][:])
    raise DataError(
        f"{split}: no pixel of its {len(dataset)} images is labelled ({masks} have masks, and all that those hold is "
        "ignored): nothing could be scored; give another split, or classes and ids that the masks hold"
    )


def _masks(dataset: Dataset) -> Iterator[PairFacts]:
    """What each mask holds, in order; those that can't be read are left out: training or evaluation will name them."""
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
