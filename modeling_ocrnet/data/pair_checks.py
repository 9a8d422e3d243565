"""Reads one pair completely, and lists all problems with it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .decoding import (
    DataError,
    Decode,
    check_file,
    check_mask,
    located,
    open_image,
    orientation_in_header,
    read_ids,
    read_image_and_remarks,
    read_instances,
    upright,
)
from .errors import size_problem
from .image_headers import MAX_PIXELS
from .labels import LabelSet
from .matlab import is_matlab
from .memory_mapped_store import memory_mapped_array
from .train_ids import train_ids_of


@dataclass
class PairFacts:
    """The facts about one pair.

    Args:
        name: of the row.
        problems: errors that must be fixed, one line for each.
        size: (width, height) of the image.
        mask_size: (width, height) of the mask.
        pixels: (classes + 1,) number of pixels by class; the last number is that of unlabelled pixels.
        assumed: the mask's path, if the mask holds the id that is ignored by default.
        turned: whether EXIF turns the image.
        unusual: a line that describes unusual values of the image.
    """

    name: str
    problems: list[str] = field(default_factory=list)
    size: tuple[int, int] | None = None
    mask_size: tuple[int, int] | None = None
    pixels: np.ndarray | None = None
    assumed: str | None = None
    turned: bool = False
    unusual: str | None = None


def check_pair(row: dict, decode: Decode) -> PairFacts:
    """Decode the image and the mask of a row separately, so that an error in one doesn't hide one in the other."""
    facts = PairFacts(row["name"])
    steps = {"image": _examine_image, "label": check_mask_pixels, "instances": _examine_instances}
    if row["image"] is None:
        facts.problems.append(f"row {facts.name}: has no image")
    for column, step in steps.items():
        if row.get(column) is not None:
            try:
                step(located(row[column], facts.name), decode, facts)
            except DataError as error:
                facts.problems.append(str(error))
    problem = None
    if facts.size is not None and facts.mask_size is not None:
        problem = size_problem(located(row["label"], facts.name)["path"], facts.mask_size, facts.size)
    elif facts.problems:
        # a mask with unknown ids still has a size
        by_color = bool(decode.labels.color_codes)
        problem, _ = check_headers(row["image"], row["label"], facts.name, by_color, decode.max_pixels)
    if problem is not None and problem not in facts.problems:
        facts.problems.append(problem)
    return facts


def _examine_image(source: dict, decode: Decode, facts: PairFacts) -> None:
    image, facts.unusual, facts.turned = read_image_and_remarks(source, decode.value_range, decode.max_pixels)
    facts.size = image.size


def check_mask_pixels(source: dict, decode: Decode, facts: PairFacts) -> None:
    """Read the mask and store its facts in `facts`.

    Raises:
        DataError: if it can't be read.
    """
    labels = decode.labels
    values = read_ids(source, labels, decode.max_pixels)
    label_map = train_ids_of(values, labels, source["path"], decode.train_ids)
    facts.mask_size, facts.pixels = label_map.shape[::-1], count_pixels_by_class(label_map, labels)
    if labels.assumed_ignored is not None and values.ndim == 2 and (values == labels.assumed_ignored).any():
        facts.assumed = source["path"]


def _examine_instances(source: dict, decode: Decode, _facts: PairFacts) -> None:
    read_instances(source, decode.max_pixels)


def count_pixels_by_class(label_map: np.ndarray, labels: LabelSet) -> np.ndarray:
    """(classes + 1,) number of pixels by class; the last number is that of unlabelled pixels."""
    counts = np.bincount(label_map.ravel(), minlength=labels.ignore + 1)
    return np.append(counts[: len(labels.trained)], counts[labels.ignore])


def check_headers(
    image: dict, label: dict | None, name: str, by_color: bool, max_pixels: int = MAX_PIXELS
) -> tuple[str | None, str | None]:
    """Check the headers of an image and its mask.

    Args:
        image: an entry of an `Image(decode=False)` column: `{"path": ..., "bytes": ...}`.
        label: the same for the mask; `None` if there is none.
        name: of the row, for entries without a path.
        by_color: masks may be RGB, in the colours of their classes.
        max_pixels: the most pixels that each may have.

    Returns:
        A line with the problem, if there is one; and the image's path, if EXIF turns the image.
    """
    turned = None
    if image is None:
        return f"{name}: has no image", None
    image, label = located(image, name), None if label is None else located(label, name)
    try:
        if memory_mapped_array(image) is not None:  # written and checked together
            return None, None
        with open_image(image, max_pixels) as opened:
            size, direction = opened.size, orientation_in_header(opened)
            turned = None if direction == 1 else image["path"]
        if label is None:
            return None, turned
        if is_matlab(label):  # its header has no size; the sample is read completely
            check_file(label["path"])
            return None, turned
        with open_image(label, max_pixels) as mask:
            check_mask(mask, label["path"], by_color)
            mask_size = mask.size
            if direction > 4 or mask_size == size[::-1] != size:  # only decoding finds EXIF in every format
                size, mask_size = (upright(open_image(x, max_pixels), x["path"]).size for x in (image, label))
            return size_problem(label["path"], mask_size, size), turned
    except DataError as error:
        return str(error), turned
