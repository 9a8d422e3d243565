"""What a reader finds: images and their masks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Pairs:
    """The frames of a split, index by index; a mask is `None` where a split has no labels.

    `train_ids` says that the masks hold train ids already, not the dataset's own ids. `instances`: files that tell
    instances apart, where the dataset has such.
    """

    names: list[str]
    images: list[Path]
    masks: list[Path | None]
    train_ids: bool = False
    instances: list[Path | None] | None = None


def check_split(split: str, splits: tuple[str, ...]) -> None:
    if split not in splits:
        raise ValueError(f"split {split!r} is unknown; there are {', '.join(splits)}")
