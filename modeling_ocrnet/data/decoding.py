"""Reads files as RGB images and label maps of train ids. Errors name the file and the likely mistake."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import fsspec
import numpy as np
from datasets import Dataset
from PIL import Image, ImageOps, UnidentifiedImageError

from ..common.compat import transform_of
from ..common.errors import is_bug
from ..pixels_ocrnet import check_range, is_turned, is_wide_color, orientation, to_rgb, unmap
from .errors import DataError, size_problem
from .labels import LabelSet
from .matlab import is_matlab, read_matlab
from .memory_mapped_store import memory_mapped_array
from .pillow_quirks import UndoPillowScaling, check_tiff_is_read_whole
from .train_ids import train_ids_of
from .value_ranges import unusual_range

ValueRange = tuple[float, float] | list[float] | int | None
MASK_MODES = ("L", "P", "1", "I", "I;16", "I;16B")  # modes whose pixels are ids
# The formats that files are read as, whatever their suffix. Pillow knows more, but its EPS reader runs Ghostscript.
FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
# The protocols allowed in rows. fsspec knows more, but some follow instructions in the files, or keep copies.
PROTOCOLS = ("bz2", "file", "gzip", "hf", "http", "https", "xz", "zip")


def open_image(source: dict) -> Image.Image:
    """Open, but don't decode, an entry of an `Image(decode=False)` column: `{"path": ..., "bytes": ...}`.

    Raises:
        DataError: if the file is missing, isn't an image, or holds bands or pages that wouldn't be read.
    """
    path, data = source["path"], source["bytes"]
    if (stored := memory_mapped_array(source)) is not None:
        return Image.fromarray(stored)
    remote = "://" in str(path)  # inside an archive, or on the Hub
    if data is None and not remote:
        check_file(path)
    if data is None and remote and not all(map(_is_known, path.split("::"))):
        raise DataError(f"{path}: images aren't read from such an address, only from {', '.join(PROTOCOLS)}")
    try:
        if data is None and remote:
            with fsspec.open(path, "rb") as file:
                data = file.read()
        image = Image.open(path if data is None else io.BytesIO(data), formats=FORMATS)
        check_tiff_is_read_whole(image, path)
        unmap(image)
        return image
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file") from error
    except Exception as error:  # Pillow may raise anything for damaged headers, and it refuses huge sizes
        if is_bug(error):
            raise
        raise DataError(f"{path}: not a readable image ({_reason(error)}): replace or remove it") from error


def _is_known(address: str) -> bool:
    """Whether one part of a chained fsspec address uses one of PROTOCOLS, or is a local file."""
    protocol, colon, _ = address.partition("://")
    return protocol in PROTOCOLS if colon else os.path.isfile(address)


def check_file(path: str) -> None:
    """Refuse paths that aren't plain files: reading from a pipe or a device might never end.

    Raises:
        DataError: names the path.
    """
    if not os.path.isfile(path):  # also False for invalid names
        reason = "not a plain file" if os.path.exists(path) else "there is no such file"
        raise DataError(f"{path}: {reason}: restore the file, or remove its pair")


def decoded(image: Image.Image, path: str | None) -> Image.Image:
    """Decode an opened image, without turning it.

    Raises:
        DataError: if the pixels are damaged.
    """
    return _careful(lambda: _loaded(image), path)


def _loaded(image: Image.Image) -> Image.Image:
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
        raise DataError(f"{path}: a damaged image ({_reason(error)}): replace or remove it") from error


def stored_pixels(mask: Image.Image, path: str | None) -> np.ndarray:
    """An opened mask's pixels, turned according to EXIF: the stored ids, without Pillow's scaling, or colours.

    Raises:
        DataError: if they are damaged.
    """
    undo = UndoPillowScaling(mask)
    pixels = np.asarray(upright(mask, path))
    return pixels if pixels.ndim == 3 else undo(pixels)


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return f"its format is none of {', '.join(FORMATS)}, or its beginning is damaged"
    return " ".join(str(error).split()) or type(error).__name__


def read_image(source: dict, value_range: ValueRange = None) -> Image.Image:
    """Read an image as viewers show it, in RGB; see [`to_rgb`].

    Raises:
        DataError: if the file is missing or damaged, or the range of its values is unknown.
    """
    return read_image_and_remarks(source, value_range).image


class ImageAndRemarks(NamedTuple):
    """An RGB image; a line that describes its unusual values, or `None`; and whether EXIF turned it."""

    image: Image.Image
    odd: str | None
    turned: bool


def read_image_and_remarks(source: dict, value_range: ValueRange = None) -> ImageAndRemarks:
    """As [`read_image`], with remarks on the file."""
    image, path = open_image(source), source["path"]
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


def read_mask(source: dict, labels: LabelSet, train_ids: bool = False) -> Image.Image:
    """Read a mask as train ids; ignored pixels are `labels.ignore`. Palette files are read as indices.

    Args:
        source: an entry of an `Image(decode=False)` column.
        labels: the dataset's labels.
        train_ids: the file holds train ids already.

    Returns:
        (height, width) PIL image of mode "L"; "I;16" for more than 255 classes.

    Raises:
        DataError: if the file holds ids or colours that the dataset doesn't have.
    """
    return Image.fromarray(train_ids_of(read_ids(source, labels), labels, source["path"], train_ids))


def read_ids(source: dict, labels: LabelSet) -> np.ndarray:
    """The values stored in a mask file: ids (height, width), or colours (height, width, 3 or 4).

    Args:
        source: an entry of an `Image(decode=False)` column.
        labels: the dataset's labels; masks may be in colour if these have colour codes.

    Raises:
        DataError: if the file is missing, isn't a mask, or is damaged.
    """
    path = source["path"]
    if is_matlab(source):
        check_file(path)
        return read_matlab(path)
    mask = open_image(source)
    check_mask(mask, path, bool(labels.color_codes))
    return stored_pixels(mask, path)


def read_instances(source: dict) -> np.ndarray:
    """(height, width) int32 instance ids."""
    image = open_image(source)
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
    """

    def __init__(self, labels: LabelSet, train_ids: bool = False, value_range: ValueRange = None):
        self.labels, self.train_ids, self.value_range = labels, train_ids, value_range

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
            ("instances", read_instances),
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
        return read_image(source, self.value_range)

    def _read_label(self, source: dict) -> Image.Image:
        return read_mask(source, self.labels, self.train_ids)


def with_value_range(dataset: Dataset, value_range: ValueRange) -> Dataset:
    """A loaded dataset that reads images with another value range: the one that the model was trained with."""
    decode = transform_of(dataset)
    return dataset.with_transform(Decode(decode.labels, decode.train_ids, value_range))
