"""The fields that describe a dataset; training and evaluation share them."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Literal

from ..common.errors import UserError
from .datasets import DATASETS, published
from .image_headers import MAX_PIXELS, check_max_pixels
from .value_ranges import check_value_range

# custom datasets: the classes come with the data
CUSTOM_DATASETS = ("folder", "hub")
DatasetName = Literal[(*DATASETS, *CUSTOM_DATASETS)]  # type: ignore[valid-type]  # read at run time

# fields that only some datasets take
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
    """Refuse an unknown dataset's name."""
    if name not in (*DATASETS, *CUSTOM_DATASETS):
        raise UserError(f"dataset {name!r} is unknown; expected one of {', '.join((*DATASETS, *CUSTOM_DATASETS))}")


@dataclass
class DataSource:
    """A dataset: its name, its location and the options for reading it.

    Raises:
        UserError: for an unknown dataset, or a field that the dataset doesn't take.
    """

    name: DatasetName = "cityscapes"
    """The dataset: a published one by name, or folder or hub for a custom one."""
    root: str | None = None
    """The dataset's folder (null: data/<name>). All images in it are found by their suffix; links are followed, hidden
    files are left out."""
    path: str | None = None
    """Hub datasets only: the repository (owner/name), or a local folder that load_dataset can read."""
    config_name: str | None = None
    """Hub datasets only: the configuration (subset), if there are several."""
    image_column: str = "image"
    """Hub datasets, and folders with a CSV or JSONL: the column of images."""
    mask_column: str = "mask"
    """Hub datasets, and folders with a CSV or JSONL: the column of masks."""
    classes: str | None = None
    """Custom datasets (folder, hub) only: a classes.json (null: the one next to the data)."""
    reduce_zero_label: bool = False
    """Custom datasets (folder, hub) only: ignore 0 in the masks; the first class is 1 there."""
    ignore_ids: list[int] = field(default_factory=list)
    """Custom datasets (folder, hub) only: ids in the masks that aren't trained (255 never is, unless a class has
    it)."""
    value_range: tuple[float, float] | int | None = None
    """Custom datasets (folder, hub) only: the values of black and white in images with more than 8 bits per value, as
    [low, high] or a number of bits, e.g. 12 for 0 to 4095 (null: all 16 bits; for floats 0 to 1 or 0 to 255, whichever
    fits)."""
    max_pixels: int = MAX_PIXELS
    """The most pixels that an image or a mask may have. Larger ones are refused before they are decoded, because a
    small file can claim any size."""
    val_share: float | None = None
    """Folder datasets without a split val only: the share of images held out as val, chosen by a hash of their names;
    the others are train."""

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
        check_max_pixels(self.max_pixels)
        if any(not 0 <= x <= 65535 for x in self.ignore_ids):  # the range of 16-bit masks
            raise UserError(f"ignore_ids must be ids from 0 to 65535, got {self.ignore_ids}")
        if self.val_share is not None and not 0 < self.val_share < 1:
            raise UserError(f"val_share must lie between 0 and 1, got {self.val_share}")

    @property
    def folder(self) -> Path:
        """The dataset's folder: `root`, or the default for the dataset.

        Raises:
            UserError: for a root that begins with ~ and a name that no user has.
        """
        usual = published(self.name).default_root if self.name in DATASETS else f"data/{self.name}"
        folder = Path(usual if self.root is None else self.root)
        try:
            return folder.expanduser()
        except RuntimeError as error:
            whole = folder.absolute()
            raise UserError(f"data.root {folder}: there is no such user; a folder of that name is {whole}") from error

    @property
    def title(self) -> str:
        """The name to report with scores: the dataset's name, or its repository on the Hub."""
        local = self.path is None or Path(self.path).is_absolute() or Path(self.path).exists()
        return self.name if local else str(self.path)
