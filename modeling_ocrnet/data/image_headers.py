"""Opens image files by their headers, and refuses sizes past a limit before anything is decoded.

The limit is an argument, not `PIL.Image.MAX_IMAGE_PIXELS`, which belongs to the whole process.
"""

from __future__ import annotations

import io
import os
import struct
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import fsspec
from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from ..common.errors import UserError, is_bug
from ..pixels_ocrnet import unmap
from .errors import DataError
from .memory_mapped_store import memory_mapped_array
from .pillow_quirks import check_tiff_is_read_whole

MAX_PIXELS = 178_956_970  # what Pillow refuses by default: a few kilobytes may claim any size
# The formats that files are read as, whatever their suffix. Pillow knows more, but its EPS reader runs Ghostscript.
FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
# The protocols allowed in rows. fsspec knows more, but some follow instructions in the files, or keep copies.
PROTOCOLS = ("bz2", "file", "gzip", "hf", "http", "https", "xz", "zip")
_PREFIX = 16  # bytes by which Pillow's readers know their format


def check_max_pixels(max_pixels: int) -> None:
    """Refuse a limit that no image could meet.

    Raises:
        UserError: says what was expected.
    """
    if type(max_pixels) is not int or max_pixels < 1:
        raise UserError(f"max_pixels is {max_pixels!r}, expected a whole number of pixels, 1 or more")


def open_image(source: dict, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Open, but don't decode, an entry of an `Image(decode=False)` column: `{"path": ..., "bytes": ...}`.

    Args:
        source: the entry.
        max_pixels: the most pixels that the image may have.

    Raises:
        DataError: if the file is missing, isn't an image, has too many pixels, or holds bands or pages that wouldn't be
            read.
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
        image = _open_header(path if data is None else data, path, max_pixels)
        check_tiff_is_read_whole(image, path)
        unmap(image)
        return image
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file") from error
    except Exception as error:  # Pillow may raise anything for damaged headers
        if is_bug(error):
            raise
        raise DataError(f"{path}: not a readable image ({reason_of(error)}): replace or remove it") from error


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


def _open_header(content: str | bytes, name: str | None, max_pixels: int) -> ImageFile:
    """Open a file or its bytes as an image of one of FORMATS, without decoding it.

    Args:
        content: a path, or a file's bytes.
        name: of the file, for messages.
        max_pixels: the most pixels that the image may have.

    Raises:
        DataError: if the image has more pixels.
        UnidentifiedImageError: if it has none of the formats.
        Exception: what Pillow's readers raise for damaged headers.
    """
    filename = content if isinstance(content, str) else ""
    with ExitStack() as stack:  # closes the file, if this fails
        file = io.BytesIO(content) if isinstance(content, bytes) else stack.enter_context(open(content, "rb"))
        try:
            image = _opened(file, filename)
        except Image.DecompressionBombError as error:  # some of Pillow's readers check the size themselves
            raise DataError(f"{name}: too large for Pillow's reader ({error}): save it as TIFF or PNG") from error
        width, height = image.size
        if width * height > max_pixels:
            raise DataError(
                f"{name}: {width}x{height} is {width * height} pixels, and max_pixels is {max_pixels}, because a small "
                f"file can claim any size: if this one is right, give --max_pixels {width * height} "
                "(--data.max_pixels for a dataset, max_pixels= in a program)"
            )
        stack.pop_all()
    image._exclusive_fp = bool(filename)  # Pillow closes a file that it opened itself: here, that we opened for it
    return image


def _opened(file: BinaryIO, filename: str) -> ImageFile:
    """`Image.open` without its check of the size, which would follow a setting of the whole process."""
    prefix = file.read(_PREFIX)
    for name in FORMATS:
        if name not in Image.OPEN:
            Image.init()
        factory, accepts = Image.OPEN[name]
        try:
            accepted = accepts is None or accepts(prefix)
            if isinstance(accepted, str):  # a format that this Pillow was built without
                raise OSError(accepted)
            if accepted:
                file.seek(0)
                return factory(file, filename)
        except (SyntaxError, IndexError, TypeError, struct.error):  # by which readers say that it isn't theirs
            continue
    raise UnidentifiedImageError(f"cannot identify image file {Path(filename).name!r}")


def reason_of(error: Exception) -> str:
    """What Pillow says of a file, on one line."""
    if isinstance(error, UnidentifiedImageError):
        return f"its format is none of {', '.join(FORMATS)}, or its beginning is damaged"
    return " ".join(str(error).split()) or type(error).__name__


def allow_size(image: Image.Image) -> None:
    """Let Pillow decode an image whose size was checked: its TIFF reader checks again, before it allocates."""
    limit, is_decoded = Image.MAX_IMAGE_PIXELS, not getattr(image, "tile", None)
    if image.format == "TIFF" and not is_decoded and limit is not None and image.width * image.height > limit:
        size = getattr(image, "_tile_size", image.size)  # before EXIF turns it
        image.im = Image.new(image.mode, size, None).im
