"""Checks of a whole dataset before work starts."""

from __future__ import annotations

import hashlib
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from datasets import Dataset, config

from .decoding import DataError, Decode, check_mask_mode, is_matlab, open_image, read_image
from .fingerprint import fingerprint
from .raw import raw_array

logger = logging.getLogger(__name__)

VERSION = 1  # of what is checked
SHOWN = 10  # problems that the message lists


def check(dataset: Dataset, masks: int = 64) -> None:
    """Check that every image and mask is there, that their headers agree, and that a sample of masks holds known ids.

    What passed is remembered in the cache of `datasets`, and not opened again while each file's size and time stay.

    Args:
        dataset: from [`load`].
        masks: how many rows, spread evenly, are decoded fully.

    Raises:
        DataError: lists the problems found, the first ten of them by name.
    """
    rows = len(dataset)
    if rows == 0:
        raise DataError("the dataset is empty")
    files = dataset.with_format(None)
    images, labels = files["image"][:], files["label"][:]
    passed = _note(dataset, images, labels, masks)
    if passed is not None and passed.is_file():
        return
    with ThreadPoolExecutor(16) as pool:
        problems = [x for x in pool.map(_header_problem, images, labels) if x]
        if not problems:
            sample = range(0, rows, max(1, rows // max(1, masks)))
            problems = [x for x in pool.map(lambda i: _row_problem(dataset, i), list(sample)[:masks]) if x]
    if problems:
        more = f"\n  and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise DataError(f"{len(problems)} of {rows} pairs have a problem:\n  " + "\n  ".join(problems[:SHOWN]) + more)
    if passed is not None:
        _remember(passed)


def _note(dataset: Dataset, images: list[dict], labels: list[dict | None], masks: int) -> Path | None:
    """The (empty) file that says that these very files passed; `None` where one is missing, or has no name."""
    sources = [x for pair in zip(images, labels, strict=True) for x in pair if x is not None]
    if any(x["path"] is None or x["bytes"] is not None or raw_array(x) is not None for x in sources):
        return None
    try:
        files = fingerprint(x["path"] for x in sources)
    except DataError:
        return None  # the check says which one, with all the others
    missing = [i for i, x in enumerate(labels) if x is None]
    transform = dataset.format["format_kwargs"].get("transform")
    table = transform.to_train_ids.tolist() if isinstance(transform, Decode) else None
    digest = hashlib.sha256(repr((VERSION, files, missing, table, masks)).encode()).hexdigest()
    return Path(config.HF_DATASETS_CACHE) / "modeling_ocrnet" / "checked" / digest


def _remember(passed: Path) -> None:
    try:
        passed.parent.mkdir(parents=True, exist_ok=True)
        passed.touch()
    except OSError as error:
        logger.info("the next check will take as long: %s", error)


def _header_problem(image: dict, label: dict | None) -> str | None:
    if raw_array(image) is not None:  # written and checked together
        return None
    try:
        with open_image(image) as opened:
            size = opened.size
        if label is None:
            return None
        if is_matlab(label):  # no header to speak of: whether it is there; the sample is read in full
            return None if Path(label["path"]).is_file() else f"{label['path']}: there is no such file"
        with open_image(label) as mask:
            check_mask_mode(mask.mode, label["path"])
            if mask.size == size[::-1] != size:
                size = read_image(image).size  # EXIF may turn it; only decoding tells for every format
            if mask.size != size:
                return f"{label['path']}: {mask.size[0]}x{mask.size[1]}, but its image is {size[0]}x{size[1]}"
    except DataError as error:
        return str(error)
    return None


def _row_problem(dataset: Dataset, index: int) -> str | None:
    try:
        dataset[index]
    except DataError as error:
        return str(error)
    return None
