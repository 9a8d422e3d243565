"""Format scores as a table and as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ..common.atomic_files import atomic_write
from ..common.tables import text_table

_OVERALL = {
    "mean_iou": "mIoU",
    "mean_accuracy": "mAcc",
    "overall_accuracy": "aAcc",
    "frequency_weighted_iou": "fwIoU",
    "boundary_iou": "boundary IoU",
    "boundary_f1": "boundary F1",
}
_BY_CLASS = {
    "iou": "IoU",
    "accuracy": "accuracy",
    "dice": "dice",
    "iiou": "iIoU",
    "boundary_iou": "boundary IoU",
    "boundary_f1": "boundary F1",
}


def as_record(result: dict, names: tuple[str, ...]) -> dict:
    """Convert the result of [`evaluate_model`] to plain values for JSON: classes by name, `None` instead of NaN."""
    classes: dict[str, dict[str, Any]] = {name: {} for name in names}
    for key, values in result.items():
        if key.startswith("per_category_"):
            for name, value in zip(names, values, strict=True):
                classes[name][key.removeprefix("per_category_")] = _plain(value)
    for name, value in result.get("iiou", {}).items():
        classes[name]["iiou"] = _plain(value)
    categories = {
        name: {"iou": _plain(value), "iiou": _plain(result.get("category_iiou", {}).get(name, np.nan))}
        for name, value in result.get("category_iou", {}).items()
    }
    overall = {key: _plain(result[key]) for key in _OVERALL if key in result}
    return {**overall, "classes": classes, **({"categories": categories} if categories else {})}


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def as_table(record: dict) -> str:
    """Format a record as text, in percent: one line per class, then categories and means."""
    columns = [key for key in _BY_CLASS if any(key in row for row in record["classes"].values())]
    lines = [["class", *(_BY_CLASS[key] for key in columns)]]
    lines += [[name, *(_percent(row.get(key)) for key in columns)] for name, row in record["classes"].items()]
    text = text_table(lines)
    if "categories" in record:
        rows = record["categories"].items()
        text += "\n\n" + text_table(
            [["category", "IoU", "iIoU"], *([name, _percent(row["iou"]), _percent(row["iiou"])] for name, row in rows)]
        )
    return text + "\n\n" + "  ".join(f"{_OVERALL[key]} {_percent(record[key])}" for key in _OVERALL if key in record)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"


def write_json(record: dict, path: str | Path) -> None:
    """Write a record to a file, atomically."""
    with atomic_write(path) as part:
        part.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
