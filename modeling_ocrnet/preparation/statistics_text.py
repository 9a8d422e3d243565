"""The statistics of a dataset as text."""

from __future__ import annotations

import numpy as np

from ..common.tables import text_table
from .statistics import DatasetStatistics, SplitStatistics


def statistics_text(found: DatasetStatistics) -> str:
    """The pairs and sizes of each split, and each class's share of the labelled pixels and number of masks."""
    lines = [f"{found.dataset}, {len(found.labels.names)} classes, {found.root}"]
    for split in found.splits:
        lines.append(f"  {split.name}: {describe_split(split)}")
    shown = [split for split in found.splits if split.masks]
    if not shown:
        return "\n".join(lines)
    rows = [["", *(x for split in shown for x in (split.name, ""))], ["", *("pixels", "masks") * len(shown)]]
    for k, label in enumerate((*found.labels.names, "(not labelled)")):
        rows.append([label, *(x for split in shown for x in (f"{100 * split.share(k):.3f}%", str(split.images[k])))])
    lines += ["", text_table(rows)]
    if found.notes:
        lines += ["", *found.notes]
    return "\n".join(lines)


def describe_split(split: SplitStatistics) -> str:
    """A line that describes a split."""
    if split.rows is None:
        return "not found"
    sizes = split.sizes.most_common()
    text = f"{len(split.rows)} pairs" + ("" if split.examined == len(split.rows) else f", {split.examined} read")
    if len(split.sound) < split.examined:
        text += f", {split.examined - len(split.sound)} with problems (not counted below)"
    if not sizes:
        return text
    if not split.masks:
        text += ", without labels"
    if len(sizes) <= 3:
        return f"{text}, {', '.join(f'{w}x{h}' + (f' ({n})' if len(sizes) > 1 else '') for (w, h), n in sizes)}"
    edges = np.array([size for size, _ in sizes])
    (low_w, low_h), (high_w, high_h) = edges.min(0), edges.max(0)
    (w, h), n = sizes[0]
    text += f", {len(sizes)} sizes, {low_w} to {high_w} wide and {low_h} to {high_h} high"
    return f"{text}, most often {w}x{h} ({n})"
