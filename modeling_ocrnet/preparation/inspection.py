"""The command `inspect`: what is in a dataset, as a table and as one HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from .. import data
from .class_weights import as_yaml, weights_of
from .contact_sheet import contact_sheet
from .page import render
from .summary import table
from .survey import survey


def inspect(
    name: str,
    root: str | None = None,
    splits: str | None = None,
    output_dir: str = "inspection",
    class_weights: float | Literal["median"] | None = None,
    limit: int | None = None,
    pictures: int = 12,
    workers: int = 8,
) -> int:
    """Say what is in a dataset, and everything that is wrong with it.

    Args:
        name: Dataset, one of modeling_ocrnet.data.DATASETS.
        root: Folder that holds it (null: the reader's default).
        splits: Splits to read, separated by commas (null: train, val and, where there is one, test).
        output_dir: Folder of the page, <name>.html.
        class_weights: Also print class weights of the first split: p for frequency ** -p, or median.
        limit: Read only so many pairs of a split, spread evenly.
        pictures: Pictures of each split on the page.
        workers: Threads that read and decode.

    Returns:
        The exit code: 1 if there are errors.
    """
    for option, value in {"limit": limit, "workers": workers}.items():
        if value is not None and value < 1:
            raise ValueError(f"--{option} must be at least 1, got {value}")
    known = data.reader(name).SPLITS
    chosen = [x.strip() for x in splits.split(",")] if splits else [x for x in ("train", "val", "test") if x in known]
    found = survey(name, root, chosen, limit, workers)
    print(table(found), end="\n\n")
    line = None
    if class_weights is not None:
        line = as_yaml(weights_of(found.splits[0], len(found.labels.names), class_weights))
        print(f"for model.config in a recipe (from {chosen[0]}; mean 1 over its labelled pixels):\n  {line}\n")
    for title, lines in (("errors", found.errors), ("warnings", found.warnings)):
        print("\n  ".join([f"{len(lines)} {title}", *lines]))
    sheet = [x for split in found.splits for x in contact_sheet(split, found.labels, pictures)]
    path = Path(output_dir) / f"{name}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(found, sheet, line), encoding="utf-8")
    print(f"written: {path}")
    return 1 if found.errors else 0
