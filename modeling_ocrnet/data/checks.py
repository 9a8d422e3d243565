"""Checks of a whole dataset before work starts."""

from __future__ import annotations

import hashlib
import logging
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from datasets import Dataset, config
from PIL import ExifTags, Image

from .decoding import DataError, Decode, check_file, check_mask, located, open_image, read_image
from .errors import size_problem
from .fingerprint import fingerprint
from .matlab import is_matlab
from .raw import raw_array

logger = logging.getLogger(__name__)

VERSION = 3  # of what is checked
SHOWN = 10  # problems that the message lists


def check(dataset: Dataset, masks: int = 64, labelled: bool = False, tolerate: bool = False) -> None:
    """Check that every image and mask is there, that their headers agree, and that a sample of masks holds known ids.

    What passed is remembered in the cache of `datasets`, and not opened again while each file's size and time stay.

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
    transform = dataset.format["format_kwargs"]["transform"]
    files = dataset.with_format(None)
    bare = [name for name, x in zip(files["name"][:], files["label"][:], strict=True) if x is None] if labelled else []
    if bare:
        raise DataError(f"{len(bare)} of {rows} images have no mask, {bare[0]} for one: training needs all of them")
    inside = files[0]["image"]["bytes"] is not None
    passed = None if inside else _note(files, transform, masks)
    if passed is not None and passed.is_file():
        return
    sample = list(range(0, rows, max(1, rows // max(1, masks))))[:masks]
    if inside:
        files = files.select(sample)  # their headers can't be read without all the rest
    of_pair = partial(header_problem, by_color=bool(transform.labels.color_codes))
    with ThreadPoolExecutor(16) as pool:
        problems = [x for x in pool.map(of_pair, files["image"][:], files["label"][:], files["name"][:]) if x]
        if not problems:
            problems = [x for x in pool.map(lambda i: _row_problem(dataset, i), sample) if x]
    if problems:
        more = f"\n  and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        message = f"{len(problems)} of {rows} pairs have a problem:\n  " + "\n  ".join(problems[:SHOWN]) + more
        if not tolerate or len(problems) == rows:
            raise DataError(message)
        logger.warning("%s\nThey will be skipped", message)
        return
    if passed is not None:
        _remember(passed)


def _note(files: Dataset, transform: Decode, masks: int) -> Path | None:
    """The (empty) file that says that these very files passed; `None` where one isn't there, or isn't a plain file."""
    pairs = list(zip(files["image"][:], files["label"][:], strict=True))
    paths = [x["path"] for pair in pairs for x in pair if x is not None]
    if any("://" in x for x in paths) or any(raw_array(image) is not None for image, _ in pairs[:1]):
        return None
    try:
        state = fingerprint(paths)
    except DataError:
        return None  # the check says which one, with all the others
    unlabelled = [i for i, (_, label) in enumerate(pairs) if label is None]
    meaning = (transform.train_ids, transform.labels.labels, transform.labels.color_codes)
    digest = hashlib.sha256(repr((VERSION, state, unlabelled, meaning, masks)).encode()).hexdigest()
    return Path(config.HF_DATASETS_CACHE) / "modeling_ocrnet" / "checked" / digest


def _remember(passed: Path) -> None:
    try:
        passed.parent.mkdir(parents=True, exist_ok=True)
        passed.touch()
    except OSError as error:
        logger.info("the next check will take as long: %s", error)


def header_problem(image: dict, label: dict | None, name: str, by_color: bool) -> str | None:
    """What the headers of an image and its mask tell is wrong, in a line.

    Args:
        image: an entry of an `Image(decode=False)` column: `{"path": ..., "bytes": ...}`.
        label: the same for the mask; `None` where there is none.
        name: of the row, for entries without a path.
        by_color: masks may be RGB, in their classes' colours.
    """
    if image is None:
        return f"{name}: has no image"
    image, label = located(image, name), None if label is None else located(label, name)
    try:
        if raw_array(image) is not None:  # written and checked together
            return None
        with open_image(image) as opened:
            size, turned = opened.size, _is_turned(opened)
        if label is None:
            return None
        if is_matlab(label):  # no header to speak of: whether it is there; the sample is read in full
            check_file(label["path"])
            return None
        with open_image(label) as mask:
            check_mask(mask, label["path"], by_color)
            if turned or mask.size == size[::-1] != size:
                size = read_image(image).size  # only decoding tells of EXIF for every format
            return size_problem(label["path"], mask.size, size)
    except DataError as error:
        return str(error)
    return None


def _is_turned(image: Image.Image) -> bool:
    """Whether the header says that EXIF lays the image on its side."""
    if "exif" not in image.info:  # PNG may have it at its end: to look there would decode the image
        return False
    try:
        return image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
    except Exception:  # of tags that say nonsense; decoding says what is wrong
        return True


def _row_problem(dataset: Dataset, index: int) -> str | None:
    try:
        dataset[index]
    except DataError as error:
        return str(error)
    return None
