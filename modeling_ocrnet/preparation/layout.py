"""The command `layout`: where a dataset comes from, the tree expected, and the parts that are missing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from .. import data
from ..common.errors import UserError
from ..common.tables import text_table
from ..data.datasets import PublishedDataset, published
from ..data.pairs import check_split


def layout(name: str | None = None, root: str | None = None, splits: str | None = None) -> int:
    """Show where a dataset comes from, its size, the tree expected, and which parts are missing.

    Args:
        name: Dataset, one of modeling_ocrnet.data.DATASETS; if not given, all are listed.
        root: Folder to check for the tree.
        splits: Splits to check, separated by commas (null: all except optional ones).

    Returns:
        The exit code: 1 if something is missing.
    """
    if name is None:
        print(listing())
        return 0
    if name in data.CUSTOM_DATASETS:
        raise UserError(f"layout is for published datasets; see docs/own_data.md for what {name!r} expects")
    dataset = published(name)
    chosen = [x.strip() for x in splits.split(",")] if splits else _usual(dataset)
    for split in chosen:
        check_split(split, dataset.splits)
    print(describe(dataset))
    if root is None:
        return 0
    there, missing = check_tree(dataset, Path(root).expanduser(), chosen)
    print("\n  ".join([f"\nunder {root}", *there, *(f"MISSING  {x}" for x in missing)]))
    return 1 if missing else 0


def listing() -> str:
    """A table of all datasets with their sizes and licences."""
    rows = [("dataset", "classes", "images", "download", "licence")]
    for name in data.DATASETS:
        dataset = published(name)
        images = " + ".join(f"{split} {dataset.images[split]}" for split in _usual(dataset))
        rows.append((name, str(len(dataset.labels.names)), images, dataset.size, dataset.licence))
    return text_table(rows, numbers=False)


def _usual(dataset: PublishedDataset) -> list[str]:
    return [x for x in dataset.splits if x not in dataset.optional]


def describe(dataset: PublishedDataset) -> str:
    """A text on where a dataset comes from, its terms, and its tree."""
    lines = [f"{dataset.title}: {len(dataset.labels.names)} classes, {dataset.size}"]
    lines += [f"  from     {dataset.downloads[0]}", *(f"           {x}" for x in dataset.downloads[1:])]
    lines.append(f"  licence  {dataset.licence}")
    lines.append(f"  tree     below the root ({dataset.default_root} by default)")
    width = max(len(entry.paths[0]) for entry in dataset.tree)
    for entry in dataset.tree:
        also = f" (or in {', '.join(entry.paths[1:])})" if entry.paths[1:] else ""
        lines.append(f"    {entry.paths[0]:<{width}}  {entry.what}{also}")
    if dataset.hint:
        lines.append(f"  then     {dataset.hint}")
    return "\n".join(lines)


def check_tree(dataset: PublishedDataset, root: Path, splits: list[str]) -> tuple[list[str], list[str]]:
    """The parts of a dataset found below a root, and those missing, one line for each.

    Args:
        dataset: the dataset.
        root: the folder.
        splits: the splits to check.
    """
    if not root.is_dir():
        return [], [f"{root}: there is no such folder"]
    base = _base(dataset, root)
    there, missing = [], []
    wanted = [entry for entry in dataset.tree if not entry.splits or set(entry.splits) & set(splits)]
    for entry in wanted:
        found = next((path for path in entry.paths if (base / path).exists()), None)
        if found is None:
            missing.append(f"{base / entry.paths[0]}: {entry.what}")
        else:
            there.append(f"found    {base / found}")
    advised = False
    for split in splits:
        try:
            pairs = dataset.find(root, split)
        except data.DataError as error:  # it may suggest another root; once is enough
            missing += [] if advised else [f"{split}: {error}"]
            advised = True
        else:
            for kind, paths in (("images", pairs.images), ("masks", [x for x in pairs.masks if x is not None])):
                if paths:  # a test split may have no masks
                    there.append(_count(split, kind, paths, dataset.images[split], missing))
    return there, missing


def _base(dataset: PublishedDataset, root: Path) -> Path:
    """The folder below the root that holds most of the tree."""

    def entries(base: str) -> int:
        return sum(any((root / base / path).exists() for path in entry.paths) for entry in dataset.tree)

    return root / max(dataset.bases, key=entries)  # of equally good ones, the first


def _count(split: str, kind: str, paths: Sequence[Path | str], published: int, missing: list[str]) -> str:
    """A line on how many of the listed files exist. Missing files are added to `missing`."""
    absent = [path for path in paths if not os.path.isfile(path)]
    if absent:
        more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
        missing.append(f"{split}: {absent[0]}{more}")
    if len(paths) < published:
        missing.append(f"{split}: {published - len(paths)} of the {published} {kind} published")
    return f"{split}: {len(paths) - len(absent)} {kind}, {published} are published"
