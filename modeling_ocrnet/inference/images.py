"""Every kind of image that a program may have, as an RGB PIL image: a path, encoded bytes, an array, a tensor ..."""

from __future__ import annotations

import os
from typing import Any, BinaryIO

import numpy as np
import torch
from PIL import Image

from ..common.errors import UserError
from ..data.decoding import ValueRange, read_image
from ..data.errors import DataError
from ..data.image_headers import MAX_PIXELS
from ..data.pillow_quirks import check_tiff_is_read_whole
from ..pixels_ocrnet import from_array, to_rgb

ImageLike = Image.Image | np.ndarray | torch.Tensor | str | os.PathLike | bytes | bytearray | memoryview | BinaryIO
_EXPECTED = "a path, an encoded image (bytes, or a file opened in binary mode), a PIL image, an array or a tensor"
_LONGEST = 4096  # characters of a path, on any system


def as_image(image: ImageLike, value_range: ValueRange = None, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Convert any kind of image to an RGB PIL image, upright and on white, as `ocrnet predict` reads files.

    Args:
        image: a path; the bytes of an encoded image, or a binary file that holds one, which is read from its beginning
            as `Image.open` does; a PIL image; an array, (height, width) greys, (height, width, 3) RGB or
            (height, width, 4) RGBA; or a tensor, (3, height, width), (height, width, 3) or (height, width), with
            values as in an array.
        value_range: the values of black and white in images with more than 8 bits; see [`to_rgb`].
        max_pixels: the most pixels that a path's or an encoded image may have.

    Raises:
        DataError: if a file or its bytes can't be read, or have too many pixels.
        ValueError: if it is none of these, has no pixels, another shape, or a dtype whose black and white are unknown.
    """
    if isinstance(image, Image.Image):
        if not image.width * image.height:
            raise UserError(f"a PIL image of {image.width}x{image.height}: it has no pixels")
        check_tiff_is_read_whole(image, getattr(image, "filename", None) or "the image")
        return to_rgb(image, value_range)
    if isinstance(image, torch.Tensor):
        image = _channels_last(image, value_range)
    if isinstance(image, np.ndarray):
        return from_array(image, value_range)
    return read_image(_entry(image), value_range, max_pixels)


def _entry(image: Any) -> dict:
    """A path, or an encoded image, as an entry of an `Image(decode=False)` column.

    Raises:
        UserError: if it is neither. The message never holds contents.
    """
    if isinstance(image, str | os.PathLike):
        path = os.fspath(image)
        if not isinstance(path, str) or not 0 < len(path) <= _LONGEST:
            raise UserError(f"a path is given as {type(image).__name__} of length {len(path)}: expected {_EXPECTED}")
        return {"path": path, "bytes": None}
    if isinstance(image, bytes | bytearray | memoryview):
        return {"path": f"the {type(image).__name__} given", "bytes": bytes(image)}
    if not callable(getattr(image, "read", None)):
        where = " inside a list" if isinstance(image, list | tuple) else ""
        raise UserError(f"an image is given as {type(image).__name__}{where}: expected {_EXPECTED}, or a list of these")
    name = getattr(image, "name", None)
    name = name if isinstance(name, str) else f"the {type(image).__name__} given"
    try:
        if getattr(image, "seekable", bool)():
            image.seek(0)
        content = image.read()
    except (OSError, ValueError) as error:  # closed, or not opened for reading, or text
        raise DataError(f"{name}: can't be read ({error}): open it in binary mode ('rb')") from error
    if not isinstance(content, bytes | bytearray | memoryview):
        raise UserError(f"{name}: read() gives {type(content).__name__}, expected bytes: open it in binary mode ('rb')")
    return {"path": name, "bytes": bytes(content)}


def _channels_last(image: torch.Tensor, value_range: ValueRange) -> np.ndarray:
    """A tensor as the array that [`from_array`] takes. As in the processor, (3, height, width) is tried first.

    Raises:
        UserError: if it has another shape, or holds floats without a `value_range`.
    """
    shape = tuple(image.shape)
    if image.layout != torch.strided or image.is_quantized:
        raise UserError(f"a tensor of {image.dtype}, {shape}, is sparse or quantized: expected a plain one")
    if len(shape) not in (2, 3) or not image.numel() or len(shape) == 3 and 3 not in (shape[0], shape[2]):
        batch = ": give a batch as a list, list(tensor)" if len(shape) == 4 else ""
        raise UserError(
            f"a tensor of {image.dtype}, {shape}: expected (3, height, width), (height, width, 3) or (height, width)"
            + batch
        )
    if image.is_complex() or image.is_floating_point() and value_range is None:
        raise UserError(
            f"a tensor of {image.dtype}, {shape}: expected uint8 or uint16; for floats, give the values of black and "
            "white, as in value_range=[0, 1]"
        )
    image = (image.permute(1, 2, 0) if len(shape) == 3 and shape[0] == 3 else image).detach().cpu()
    return (image.float() if image.is_floating_point() else image).contiguous().numpy()  # numpy has no bfloat16
