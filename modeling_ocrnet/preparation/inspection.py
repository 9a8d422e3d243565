"""The command `inspect`: what is in a dataset, as a table and as one HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from .. import data
from ..data.store import read_manifest
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
    path: str | None = None,
    image_column: str = "image",
    mask_column: str = "mask",
    classes: str | None = None,
    reduce_zero_label: bool = False,
    ignore_ids: list[int] | None = None,
    val_share: float | None = None,
) -> int:
    """Say what is in a dataset, and everything that is wrong with it.

    Args:
        name: Dataset, one of modeling_ocrnet.data.DATASETS, or folder or hub.
        root: Folder that holds it (null: the reader's default).
        splits: Splits to read, separated by commas (null: train, val and, of a published dataset, test).
        output_dir: Folder of the page, <name>.html.
        class_weights: Also print class weights of the first split: p for frequency ** -p, or median.
        limit: Read only so many pairs of a split, spread evenly.
        pictures: Pictures of each split on the page.
        path: Of hub: owner/name on the Hub, or a local folder that load_dataset reads.
        image_column: Of hub, and of a folder's CSV or JSONL: the column of images.
        mask_column: Of hub, and of a folder's CSV or JSONL: the column of masks.
        classes: Of folder and hub: a classes.json (null: the one that lies with the data).
        reduce_zero_label: Of folder and hub: 0 in the masks is ignored, and the first class is 1 there.
        ignore_ids: Of folder and hub: ids in the masks that aren't trained.
        val_share: Of a folder without a split val: this share of its images is val, the rest train.
        workers: Threads that read and decode.

    Returns:
        The exit code: 1 if there are errors.
    """
    for option, value in {"limit": limit, "workers": workers}.items():
        if value is not None and value < 1:
            raise ValueError(f"--{option} must be at least 1, got {value}")
    if isinstance(class_weights, float) and class_weights < 0:
        raise ValueError(f"--class_weights: the power must be 0 or more, got {class_weights}")
    source = data.DataSource(
        name=name,
        root=root,
        path=path,
        image_column=image_column,
        mask_column=mask_column,
        classes=classes,
        reduce_zero_label=reduce_zero_label,
        ignore_ids=ignore_ids or [],
        val_share=val_share,
    )
    if root is not None and read_manifest(Path(root)) is not None:
        raise ValueError(f"{root}: an export, checked when it was written: inspect the dataset that it was made from")
    known = ("train", "val") if name in data.OWN else data.reader(name).SPLITS
    chosen = [x.strip() for x in splits.split(",")] if splits else [x for x in ("train", "val", "test") if x in known]
    found = survey(source, chosen, limit, workers)
    print(table(found), end="\n\n")
    line = None
    if class_weights is not None and not found.splits[0].labelled:
        found.errors.append(f"no class weights: nothing is labelled in {chosen[0]}")
    elif class_weights is not None:
        line = as_yaml(weights_of(found.splits[0], len(found.labels.names), class_weights))
        print(f"for model.config in a recipe (from {chosen[0]}; mean 1 over its labelled pixels):\n  {line}\n")
    for title, lines in (("errors", found.errors), ("warnings", found.warnings)):
        print("\n  ".join([f"{len(lines)} {title}", *lines]))
    sheet = [x for split in found.splits for x in contact_sheet(split, found.labels, pictures)]
    page = Path(output_dir) / f"{name}.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(render(found, sheet, line), encoding="utf-8")
    print(f"written: {page}")
    return 1 if found.errors else 0
