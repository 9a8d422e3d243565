"""Where data comes from: the fields that training and evaluation share."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Literal

from ..common.errors import UserError
from .datasets import DATASETS, published
from .value_ranges import check_value_range

# one's own: the classes come with the data
CUSTOM_DATASETS = ("folder", "hub")
DatasetName = Literal[(*DATASETS, *CUSTOM_DATASETS)]

# fields that not every dataset takes
_TAKEN_BY = {
    "root": (*DATASETS, "folder"),
    "path": ("hub",),
    "config_name": ("hub",),
    "val_share": ("folder",),
    **dict.fromkeys(
        ("image_column", "mask_column", "classes", "reduce_zero_label", "ignore_ids", "value_range"), CUSTOM_DATASETS
    ),
}


def check_name(name: str) -> None:
    """Refuse what is no dataset's name."""
    if name not in (*DATASETS, *CUSTOM_DATASETS):
        raise UserError(f"dataset {name!r} is unknown; there are {', '.join((*DATASETS, *CUSTOM_DATASETS))}")


@dataclass
class DataSource:
    """A dataset, and where it lies.

    Raises:
        UserError: for an unknown dataset, or a field that it doesn't take.
    """

    name: DatasetName = "cityscapes"
    """Dataset, a published one or one's own: folder or hub."""
    root: str | None = None
    """Folder that holds it (null: data/<name>). Of a folder all images by their suffix, links followed, nothing
    hidden."""
    path: str | None = None
    """Of hub: owner/name on the Hub, or a local folder that load_dataset reads."""
    config_name: str | None = None
    """Of hub: the configuration (subset), where there are several."""
    image_column: str = "image"
    """Of hub, and of a folder's CSV or JSONL: the column of images."""
    mask_column: str = "mask"
    """Of hub, and of a folder's CSV or JSONL: the column of masks."""
    classes: str | None = None
    """Of folder and hub: a classes.json (null: the one that lies with the data)."""
    reduce_zero_label: bool = False
    """Of folder and hub: 0 in the masks is ignored, and the first class is 1 there."""
    ignore_ids: list[int] = field(default_factory=list)
    """Of folder and hub: ids in the masks that aren't trained (255 never is, unless a class has it)."""
    value_range: tuple[float, float] | int | None = None
    """Of folder and hub: the values that are black and white in images of more than 8 bits a value, [low, high] or a
    number of bits; e.g. 12 for 0 to 4095 (null: all of 16 bits; of floats 0 to 1 or 0 to 255, whichever fits)."""
    val_share: float | None = None
    """Of a folder without a split val: this share of its images, by a hash of their names, is val, the rest train."""

    def __post_init__(self):
        check_name(self.name)
        defaults = {x.name: x.default if x.default_factory is MISSING else x.default_factory() for x in fields(self)}
        for key, names in _TAKEN_BY.items():
            if getattr(self, key) != defaults[key] and self.name not in names:
                others = " or ".join(names) if len(names) < 3 else "the others"
                raise UserError(f"{key} is given, but dataset {self.name!r} doesn't take it: it is for {others}")
        if self.name == "hub" and self.path is None:
            raise UserError("dataset 'hub' needs a path: owner/name on the Hub, or a local folder")
        if self.image_column == self.mask_column:
            raise UserError(f"image_column and mask_column are both {self.image_column!r}")
        check_value_range(self.value_range)
        if any(not 0 <= x <= 65535 for x in self.ignore_ids):  # what masks of 16 bits hold
            raise UserError(f"ignore_ids must be ids from 0 to 65535, got {self.ignore_ids}")
        if self.val_share is not None and not 0 < self.val_share < 1:
            raise UserError(f"val_share must lie between 0 and 1, got {self.val_share}")

    @property
    def folder(self) -> Path:
        """The folder that holds it: `root`, or the dataset's usual one."""
        usual = published(self.name).default_root if self.name in DATASETS else f"data/{self.name}"
        return Path(usual if self.root is None else self.root).expanduser()

    @property
    def title(self) -> str:
        """What scores are said to be measured on: the dataset's name, or its name on the Hub."""
        local = self.path is None or Path(self.path).is_absolute() or Path(self.path).exists()
        return self.name if local else self.path
