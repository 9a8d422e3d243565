"""The card of an exported dataset."""

from __future__ import annotations

from typing import Any

import yaml

from ..common.tables import markdown_table
from ..data.datasets import CardFacts
from ..data.labels import LabelSet
from ..hub.data_notes import facts_of, title_of

_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"))

_BODY = """\
# {title}

{text}

Semantic segmentation. `image` holds the dataset's original files, unchanged; `label` is a PNG of class indices, 0 to
{last}, and {ignore} for ignored pixels; `name` is the image's name. Rows: {rows}.

```python
from datasets import load_dataset
rows = load_dataset("owner/name", split="{split}", streaming=True)  # or "parquet", data_files="data/{split}-*"
```

## Classes

The class names as JSON are in `id2label.json`, the checksums of all files in `manifest.json`.

{classes}

## Licence

{licence}
"""


def make_dataset_card(name: str, labels: LabelSet, manifest: dict[str, Any]) -> str:
    """The README.md of a Parquet export.

    Args:
        name: the dataset.
        labels: its classes.
        manifest: the export's manifest, which lists all files.
    """
    facts, splits = facts_of(name), manifest["splits"]
    rows = sum(splits.values())
    head = {
        "pretty_name": title_of(name),
        "license": facts.licence if facts else "unknown",
        "license_name": facts.licence_name if facts else None,
        "license_link": facts.licence_link if facts else None,
        "task_categories": ["image-segmentation"],
        "task_ids": ["semantic-segmentation"],
        "size_categories": [next((text for limit, text in _SIZES if rows < limit), "n>1M")],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": split, "path": f"data/{split}-*.parquet"} for split in splits],
            }
        ],
        "dataset_info": {
            "features": [
                {"name": "image", "dtype": "image"},
                {"name": "label", "dtype": "image"},
                {"name": "name", "dtype": "string"},
            ],
            "splits": [
                {"name": split, "num_bytes": _bytes(manifest, split), "num_examples": count}
                for split, count in splits.items()
            ],
            "download_size": sum(_bytes(manifest, split) for split in splits),
            "dataset_size": sum(_bytes(manifest, split) for split in splits),
        },
    }
    head = {key: value for key, value in head.items() if value is not None}
    classes = markdown_table(
        ("index", "name", "colour (RGB)"),
        ((x.train_id, x.name, ", ".join(map(str, x.color))) for x in labels.trained),
    )
    body = _BODY.format(
        title=head["pretty_name"],
        text=facts.text if facts else f"The dataset `{name}`.",
        last=len(labels.trained) - 1,
        ignore=labels.ignore,
        rows=", ".join(f"{split}: {count}" for split, count in splits.items()),
        split=next(iter(splits)),
        classes=classes,
        licence=_licence(facts),
    )
    return f"---\n{yaml.safe_dump(head, sort_keys=False)}---\n\n{body}"


def _bytes(manifest: dict[str, Any], split: str) -> int:
    return sum(x["bytes"] for file, x in manifest["files"].items() if file.startswith(f"data/{split}-"))


def _licence(facts: CardFacts | None) -> str:
    if facts is None:
        return "No licence is recorded here. The dataset's own terms apply; ask its authors before you redistribute it."
    link = f" ({facts.licence_link})" if facts.licence_link else ""
    passing_on = "" if facts.redistributable else " They forbid redistribution: keep this repository private."
    return f"The dataset's own terms apply: {facts.licence_name or facts.licence}{link}.{passing_on}"
