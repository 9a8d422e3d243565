"""Files to pixels: RGB images and label maps of train ids, with errors that name the file and the likely mistake."""

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
# What files are read as, whatever they are called. Pillow knows more: its EPS starts Ghostscript.
FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
# Where rows may point to. fsspec knows more: some follow instructions in what they read, or keep copies.
PROTOCOLS = ("bz2", "file", "gzip", "hf", "http", "https", "xz", "zip")


def open_image(source: dict) -> Image.Image:
    """Open, but don't decode, an entry of an `Image(decode=False)` column: `{"path": ..., "bytes": ...}`.

    Raises:
        DataError: where the file isn't there, isn't an image, or holds bands or pages that wouldn't be read.
    """
    path, data = source["path"], source["bytes"]
    if (stored := memory_mapped_array(source)) is not None:
        return Image.fromarray(stored)
    remote = "://" in str(path)  # inside an archive, or on the Hub
    if data is None and not remote:
        check_file(path)
    if data is None and remote and not all(map(_is_known, path.split("::"))):
        raise DataError(f"{path}: not an address that images are read from ({', '.join(PROTOCOLS)})")
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
    except Exception as error:  # damaged headers make Pillow raise anything; it refuses sizes that no image has, too
        if is_bug(error):
            raise
        raise DataError(f"{path}: not a readable image ({_reason(error)}): replace or remove it") from error


def _is_known(address: str) -> bool:
    """Whether a link of fsspec's chain of addresses is of PROTOCOLS, or a file of this machine."""
    protocol, colon, _ = address.partition("://")
    return protocol in PROTOCOLS if colon else os.path.isfile(address)


def check_file(path: str) -> None:
    """Refuse what isn't a file: reading a pipe or a device wouldn't end.

    Raises:
        DataError: naming it.
    """
    if not os.path.isfile(path):  # False for names that no file can have, too
        reason = "not a plain file" if os.path.exists(path) else "there is no such file"
        raise DataError(f"{path}: {reason}: put it there again, or take its pair out")


def decoded(image: Image.Image, path: str | None) -> Image.Image:
    """The image with its pixels read, as they lie in the file.

    Raises:
        DataError: where they are damaged.
    """
    return _careful(lambda: _loaded(image), path)


def _loaded(image: Image.Image) -> Image.Image:
    image.load()
    return image


def upright(image: Image.Image, path: str | None) -> Image.Image:
    """The image with its pixels read, turned as its EXIF says.

    Raises:
        DataError: where they are damaged, or EXIF holds nonsense.
    """
    decoded(image, path)
    return _careful(lambda: ImageOps.exif_transpose(image) if is_turned(image) else image, path)


def _careful(step: Callable[[], Any], path: str | None) -> Any:
    try:
        return step()
    except DataError:
        raise
    except Exception as error:  # damaged data makes Pillow's decoders raise anything
        if is_bug(error):
            raise
        raise DataError(f"{path}: a damaged image ({_reason(error)}): replace or remove it") from error


def stored_pixels(mask: Image.Image, path: str | None) -> np.ndarray:
    """An opened mask's pixels, turned as its EXIF says: ids as the file holds them (a viewer stretches), or colours.

    Raises:
        DataError: where they are damaged.
    """
    undo = UndoPillowScaling(mask)
    pixels = np.asarray(upright(mask, path))
    return pixels if pixels.ndim == 3 else undo(pixels)


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return f"none of {', '.join(FORMATS)}, or damaged at its beginning"
    return " ".join(str(error).split()) or type(error).__name__


def read_image(source: dict, value_range: ValueRange = None) -> Image.Image:
    """The RGB image as a person sees it; see [`to_rgb`].

    Raises:
        DataError: where the file isn't there, is damaged, or has values that no range is known of.
    """
    return read_image_and_remarks(source, value_range).image


class ImageAndRemarks(NamedTuple):
    """An image as RGB; what is odd about its values, in a line, or `None`; and whether EXIF turned it."""

    image: Image.Image
    odd: str | None
    turned: bool


def read_image_and_remarks(source: dict, value_range: ValueRange = None) -> ImageAndRemarks:
    """As [`read_image`], with what is to be said of the file."""
    image, path = open_image(source), source["path"]
    wide = is_wide_color(image)
    in_header = orientation_in_header(image) if image.format == "TIFF" else 1  # others keep it when they are decoded
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
    """EXIF's orientation as far as the header tells it; 8 where it holds nonsense: decoding says what is wrong."""
    # a PNG may have it at its end, and to look there would decode it; a TIFF has it in front, and loses it by decoding
    if "exif" not in image.info and image.format != "TIFF":
        return 1
    try:
        return orientation(image)
    except Exception as error:
        if is_bug(error):
            raise
        return 8


def check_mask(mask: Image.Image, path: str | None, by_color: bool = False) -> None:
    """Refuse what can't hold ids (or, `by_color`, exact colours), going by the header alone."""
    if mask.format in ("JPEG", "MPO"):
        raise DataError(
            f"{path}: a mask as JPEG, which changes values along every edge to save space: export the masks as PNG"
        )
    if mask.mode not in MASK_MODES and not (by_color and mask.mode in ("RGB", "RGBA")):
        raise DataError(
            f"{path}: a mask of mode {mask.mode}, expected one channel of ids: this looks like a picture of the mask's "
            "colours; point at the files that hold ids (or, for data of your own, give every class a color of its own)"
        )


def read_mask(source: dict, labels: LabelSet, train_ids: bool = False) -> Image.Image:
    """The mask as train ids, `labels.ignore` where ignored. Palette files are read as indices.

    Args:
        source: an entry of an `Image(decode=False)` column.
        labels: the dataset's labels.
        train_ids: the file holds train ids already.

    Returns:
        (height, width) PIL image of mode "L"; "I;16" for more than 255 classes.

    Raises:
        DataError: where the file holds ids or colours that the dataset doesn't know.
    """
    return Image.fromarray(train_ids_of(read_ids(source, labels), labels, source["path"], train_ids))


def read_ids(source: dict, labels: LabelSet) -> np.ndarray:
    """What a mask's file holds: ids (height, width), or colours (height, width, 3 or 4).

    Args:
        source: an entry of an `Image(decode=False)` column.
        labels: the dataset's labels: whether they have colours.

    Raises:
        DataError: where the file isn't there, isn't a mask, or is damaged.
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
    """The entry with something to call it by in messages, where it has bytes but no file."""
    return source if source["path"] else {**source, "path": f"row {name}"}


class Decode:
    """The format of a loaded dataset: rows with a PIL image and, where there is one, a PIL mask of train ids.

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
    """A loaded dataset whose images are read with another range, as the model that is to see them was trained."""
    decode = transform_of(dataset)
    return dataset.with_transform(Decode(decode.labels, decode.train_ids, value_range))
