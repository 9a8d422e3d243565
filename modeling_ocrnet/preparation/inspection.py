"""The command `inspect`: statistics of a dataset, as a table and as one HTML page."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

from .. import data
from ..common.atomic_files import atomic_write
from ..common.errors import UserError
from ..data.memory_mapped_store import read_manifest
from .class_weights import class_weights_as_yaml, compute_class_weights
from .statistics import collect_statistics
from .statistics_page import statistics_page
from .statistics_text import statistics_text


def inspect(
    source: data.DataSource,
    splits: str | None = None,
    output: str = "inspection",
    class_weights: float | Literal["median"] | None = None,
    limit: int | None = None,
    pictures: int = 12,
    workers: int = 8,
) -> int:
    """Report the content of a dataset, and all problems with it.

    Args:
        source: The dataset.
        splits: Splits to read, separated by commas (null: train, val and, for a published dataset, test).
        output: Folder for the page, <name>.html.
        class_weights: Also print class weights of the first split: p for frequency ** -p, or median.
        limit: Read at most this many pairs of each split, evenly spaced.
        pictures: Number of pictures of each split on the page.
        workers: Number of threads that read and decode.

    Returns:
        The exit code: 1 if there are errors.
    """
    for option, value in {"limit": limit, "workers": workers}.items():
        if value is not None and value < 1:
            raise UserError(f"--{option} must be at least 1, got {value}")
    if pictures < 0:
        raise UserError(f"--pictures must be 0 or more, got {pictures}")
    if isinstance(class_weights, float) and not 0 <= class_weights < math.inf:
        raise UserError(f"--class_weights: the power must be 0 or more, got {class_weights}")
    if source.root is not None and read_manifest(Path(source.root)) is not None:
        raise UserError(
            f"{source.root}: is an export, which was checked when it was written: inspect the original dataset instead"
        )
    known = ("train", "val") if source.name in data.CUSTOM_DATASETS else data.published(source.name).splits
    chosen = [x.strip() for x in splits.split(",")] if splits else [x for x in ("train", "val", "test") if x in known]
    found = collect_statistics(source, chosen, limit, workers)
    print(statistics_text(found), end="\n\n")
    line = None
    if class_weights is not None and not found.splits[0].labelled:
        found.errors.append(f"no class weights: no pixel is labelled in {chosen[0]}")
    elif class_weights is not None:
        line = class_weights_as_yaml(compute_class_weights(found.splits[0], len(found.labels.names), class_weights))
        print(f"for model.config in a recipe (from {chosen[0]}; mean 1 over its labelled pixels):\n  {line}\n")
    for title, lines in (("errors", found.errors), ("warnings", found.warnings)):
        print("\n  ".join([f"{len(lines)} {title}", *lines]))
    page = Path(output) / f"{source.name}.html"
    with atomic_write(page) as part:
        part.write_text(statistics_page(found, pictures, line), encoding="utf-8")
    print(f"written: {page}")
    return 1 if found.errors else 0
