"""Checks of a whole dataset before work starts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from datasets import Dataset

from .decoding import DataError, check_mask_mode, is_matlab, open_image, read_image
from .raw import raw_array

SHOWN = 10  # problems that the message lists


def check(dataset: Dataset, masks: int = 64) -> None:
    """Check that every image and mask is there, that their headers agree, and that a sample of masks holds known ids.

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
    images, labels = files["image"], files["label"]
    with ThreadPoolExecutor(16) as pool:
        problems = [x for x in pool.map(_header_problem, images, labels) if x]
        if not problems:
            sample = range(0, rows, max(1, rows // max(1, masks)))
            problems = [x for x in pool.map(lambda i: _row_problem(dataset, i), list(sample)[:masks]) if x]
    if problems:
        more = f"\n  and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise DataError(f"{len(problems)} of {rows} pairs have a problem:\n  " + "\n  ".join(problems[:SHOWN]) + more)


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
