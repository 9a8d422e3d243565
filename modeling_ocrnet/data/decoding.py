"""Reads files as RGB images and label maps of train ids. Errors name the file and the likely mistake."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from datasets import Dataset
from PIL import Image, ImageOps

from ..common.compat import transform_of
from ..common.errors import is_bug
from ..pixels_ocrnet import check_range, is_turned, is_wide_color, orientation, to_rgb
from .errors import DataError, size_problem
from .image_headers import MAX_PIXELS, allow_size, check_file, open_image, reason_of
from .labels import LabelSet
from .matlab import is_matlab, read_matlab
from .pillow_quirks import UndoPillowScaling
from .train_ids import train_ids_of
from .value_ranges import unusual_range

ValueRange = tuple[float, float] | list[float] | int | None
MASK_MODES = ("L", "P", "1", "I", "I;16", "I;16B")  # modes whose pixels are ids


def decoded(image: Image.Image, path: str | None) -> Image.Image:
    """Decode an opened image, without turning it.

    Raises:
        DataError: if the pixels are damaged.
    """
    return _careful(lambda: _loaded(image), path)


def _loaded(image: Image.Image) -> Image.Image:
    allow_size(image)
    image.load()
    return image


def upright(image: Image.Image, path: str | None) -> Image.Image:
    """Decode an opened image, and turn it according to its EXIF orientation.

    Raises:
        DataError: if the pixels are damaged, or EXIF is invalid.
    """
    decoded(image, path)
    return _careful(lambda: ImageOps.exif_transpose(image) if is_turned(image) else image, path)


def _careful(step: Callable[[], Any], path: str | None) -> Any:
    try:
        return step()
    except DataError:
        raise
    except Exception as error:  # Pillow's decoders may raise anything for damaged data
        if is_bug(error):
            raise
        raise DataError(f"{path}: a damaged image ({reason_of(error)}): replace or remove it") from error


def stored_pixels(mask: Image.Image, path: str | None) -> np.ndarray:
    """An opened mask's pixels, turned according to EXIF: the stored ids, without Pillow's scaling, or colours.

    Raises:
        DataError: if they are damaged.
    """
    undo = UndoPillowScaling(mask)
    pixels = np.asarray(upright(mask, path))
    return pixels if pixels.ndim == 3 else undo(pixels)


def read_image(source: dict, value_range: ValueRange = None, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Read an image as viewers show it, in RGB; see [`to_rgb`].

    Raises:
        DataError: if the file is missing or damaged, has too many pixels, or the range of its values is unknown.
    """
    return read_image_and_remarks(source, value_range, max_pixels).image


class ImageAndRemarks(NamedTuple):
    """An RGB image; a line that describes its unusual values, or `None`; and whether EXIF turned it."""

    image: Image.Image
    odd: str | None
    turned: bool


def read_image_and_remarks(
    source: dict, value_range: ValueRange = None, max_pixels: int = MAX_PIXELS
) -> ImageAndRemarks:
    """As [`read_image`], with remarks on the file."""
    image, path = open_image(source, max_pixels), source["path"]
    wide = is_wide_color(image)
    in_header = orientation_in_header(image) if image.format == "TIFF" else 1  # decoding keeps it in other formats
    try:
        check_range(image, value_range)
        turned = _careful(lambda: is_turned(decoded(image, path)), path)
        image = upright(image, path)
        rgb = to_rgb(image, value_range)
    except DataError:
        raise
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    odd = unusual_range(image, wide, value_range)
    return ImageAndRemarks(rgb, odd and f"{path}: {odd}", turned or in_header != 1)


def orientation_in_header(image: Image.Image) -> int:
    """The EXIF orientation, if the header has it, else 1. It is 8 if EXIF is invalid; decoding then names the error."""
    # a PNG may have EXIF at its end, where only decoding finds it; a TIFF has it in the header, and decoding drops it
    if "exif" not in image.info and image.format != "TIFF":
        return 1
    try:
        return orientation(image)
    except Exception as error:
        if is_bug(error):
            raise
        return 8


def check_mask(mask: Image.Image, path: str | None, by_color: bool = False) -> None:
    """Refuse files that can't hold ids (or, with `by_color`, exact colours). Only the header is read."""
    if mask.format in ("JPEG", "MPO"):
        raise DataError(
            f"{path}: a JPEG can't be a mask, because its compression changes ids along edges: export the masks as PNG"
        )
    if mask.mode not in MASK_MODES and not (by_color and mask.mode in ("RGB", "RGBA")):
        raise DataError(
            f"{path}: the mask has mode {mask.mode}, expected one channel of ids: this looks like a picture of the "
            "mask's colours; give the files that hold ids (or, for your own data, give every class a different color)"
        )


def read_mask(source: dict, labels: LabelSet, train_ids: bool = False, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Read a mask as train ids; ignored pixels are `labels.ignore`. Palette files are read as indices.

    Args:
        source: an entry of an `Image(decode=False)` column.
        labels: the dataset's labels.
        train_ids: the file holds train ids already.
        max_pixels: the most pixels that the mask may have.

    Returns:
        (height, width) PIL image of mode "L"; "I;16" for more than 255 classes.

    Raises:
        DataError: if the file holds ids or colours that the dataset doesn't have.
    """
    return Image.fromarray(train_ids_of(read_ids(source, labels, max_pixels), labels, source["path"], train_ids))


def read_ids(source: dict, labels: LabelSet, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The values stored in a mask file: ids (height, width), or colours (height, width, 3 or 4).

    Args:
        source: an entry of an `Image(decode=False)` column.
        labels: the dataset's labels; masks may be in colour if these have colour codes.
        max_pixels: the most pixels that the mask may have.

    Raises:
        DataError: if the file is missing, isn't a mask, or is damaged.
    """
    path = source["path"]
    if is_matlab(source):
        check_file(path)
        return read_matlab(path)
    mask = open_image(source, max_pixels)
    check_mask(mask, path, bool(labels.color_codes))
    values = stored_pixels(mask, path)
    if mask.mode == "P" and labels.ignored_colors:
        _check_palette(mask, values, labels, path)
    return values


def _check_palette(mask: Image.Image, indices: np.ndarray, labels: LabelSet, path: str | None) -> None:
    """Refuse a palette file in which a trained index has an ignored colour: its colours were meant, but don't count."""
    palette = np.array(mask.getpalette(), np.uint8).reshape(-1, 3)
    for index in np.unique(indices).tolist():
        color = tuple(palette[index].tolist()) if index < len(palette) else None
        train_id = int(labels.to_train_ids[index])
        if color in labels.ignored_colors and 0 <= train_id < len(labels.names):
            raise DataError(
                f"{path}: a palette file, of which the indices count and not the colours: {labels.origin} ignores the "
                f"color {list(color)}, but its index {index} is class {labels.names[train_id]!r}: give each class its "
                "id and list ignored ones in ignore_ids, or save the masks as RGB"
            )


def read_instances(source: dict, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """(height, width) int32 instance ids."""
    image = open_image(source, max_pixels)
    check_mask(image, source["path"])
    return stored_pixels(image, source["path"]).astype(np.int32)


def located(source: dict, name: str) -> dict:
    """The entry, with a name for messages in place of its path if it has bytes but no file."""
    return source if source["path"] else {**source, "path": f"row {name}"}


class Decode:
    """The transform of a loaded dataset: gives rows with a PIL image and, if there is one, a PIL mask of train ids.

    Args:
        labels: the dataset's labels.
        train_ids: the masks hold train ids already.
        value_range: black and white in images of more than 8 bits; see [`to_rgb`].
        max_pixels: the most pixels that an image or a mask may have.
    """

    def __init__(
        self,
        labels: LabelSet,
        train_ids: bool = False,
        value_range: ValueRange = None,
        max_pixels: int = MAX_PIXELS,
    ):
        self.labels, self.train_ids, self.value_range, self.max_pixels = labels, train_ids, value_range, max_pixels

    def __call__(self, rows: dict) -> dict:
        rows = dict(rows)
        count = len(next(iter(rows.values())))
        names = rows.get("name", [""] * count)
        if missing := [name for x, name in zip(rows.get("image", ()), names, strict=False) if x is None]:
            raise DataError(f"row {missing[0]}: has no image")
        labels = rows.get("label", ())
        for column, read in (
            ("image", self._read_image),
            ("label", self._read_label),
            ("instances", self._read_instances),
        ):
            if column in rows:
                rows[column] = [
                    None if x is None else read(located(x, name)) for x, name in zip(rows[column], names, strict=True)
                ]
        for x, name, image, label in zip(labels, names, rows.get("image", ()), rows.get("label", ()), strict=False):
            if label is not None and (problem := size_problem(located(x, name)["path"], label.size, image.size)):
                raise DataError(problem)
        return rows

    def _read_image(self, source: dict) -> Image.Image:
        return read_image(source, self.value_range, self.max_pixels)

    def _read_label(self, source: dict) -> Image.Image:
        return read_mask(source, self.labels, self.train_ids, self.max_pixels)

    def _read_instances(self, source: dict) -> np.ndarray:
        return read_instances(source, self.max_pixels)


def with_value_range(dataset: Dataset, value_range: ValueRange) -> Dataset:
    """A loaded dataset that reads images with another value range: the one that the model was trained with."""
    decode = transform_of(dataset)
    return dataset.with_transform(Decode(decode.labels, decode.train_ids, value_range, decode.max_pixels))
