# SPDX-License-Identifier: Apache-2.0
"""From pictures to 8-bit RGB. All entries of the project follow these rules: [`to_rgb`] for PIL's images and for files,
[`scale_values`] for the numbers in arrays."""

import numpy as np
from PIL import Image, ImageOps

ORIENTATION = 0x0112  # EXIF's tag: 1 upright, 2 to 8 mirrored or turned
SLACK = 0.01  # by which rounding may have taken floats out of 0..1 or 0..255


def to_range(value_range) -> tuple[float, float] | None:
    """The values that are black and white: from `(low, high)`, or from a number of bits, 12 for 0 to 4095.

    Raises:
        ValueError: for anything else.
    """
    if value_range is None:
        return None
    given = value_range
    if isinstance(value_range, int):
        value_range = (0, 2**value_range - 1) if value_range in range(1, 33) and value_range is not True else (0, 0)
    low, high = value_range
    if not low < high < float("inf") or low == -float("inf"):
        raise ValueError(f"value_range is {given}, expected two numbers in order, or 1 to 32 bits")
    return float(low), float(high)


def scale_values(values: np.ndarray, value_range=None) -> np.ndarray:
    """Pixels of any type to 0..255: uint8 as it is, uint16 from 0..65535, floats from 0..1 or 0..255, whichever fits.

    Args:
        values: of any shape.
        value_range: what [`to_range`] takes: the values that are black and white in anything but uint8.

    Returns:
        uint8; of floats float32, not rounded.

    Raises:
        ValueError: for values that such a range can't be told of.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype == bool:
        return values.astype(np.uint8) * np.uint8(255)
    is_float = values.dtype.kind == "f"
    if values.dtype.kind not in "fui":
        raise ValueError(f"pixels of {values.dtype}, expected whole numbers or floats")
    lowest, highest = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    if not np.isfinite([lowest, highest]).all():
        raise ValueError("pixels that are NaN or infinite: replace them")
    low, high = to_range(value_range) or (0.0, _top(values.dtype, lowest, highest))
    scaled = ((values.astype(np.float32) - np.float32(low)) * np.float32(255 / (high - low))).clip(0, 255)
    return scaled if is_float else scaled.round().astype(np.uint8)


def _top(dtype: np.dtype, lowest: float, highest: float) -> float:
    """White, if nobody said what it is."""
    if dtype == np.uint16:
        return 65535.0
    tops, slack = ((1.0, 255.0), SLACK) if dtype.kind == "f" else ((255.0,), 0.0)
    for top in tops:
        if lowest >= -slack * top and highest <= (1 + slack) * top:
            return top
    expected = "0 to 1 or 0 to 255" if dtype.kind == "f" else "0 to 255 (uint16: 0 to 65535)"
    raise ValueError(
        f"pixels of {dtype} from {lowest:g} to {highest:g}, expected {expected}: say which values are black and white "
        f"by value_range, [{lowest:g}, {highest:g}] perhaps"
    )


def orientation(image: Image.Image) -> int:
    """EXIF's: 1 upright, 2 to 4 mirrored or upside down, 5 to 8 on its side; a value that is none counts as upright."""
    found = image.getexif().get(ORIENTATION, 1)
    return found if found in range(1, 9) else 1


def is_turned(image: Image.Image) -> bool:
    """Whether EXIF says that an image is to be mirrored or turned before a person looks at it."""
    return orientation(image) != 1


def is_wide_color(image: Image.Image) -> bool:
    """Whether an image that is opened, but not decoded, holds 16-bit colours: Pillow reads their upper 8 bits."""
    return len(image.getbands()) > 1 and ";16" in pixel_layout(image)


def check_range(image: Image.Image, value_range) -> None:
    """Refuse a range for what it can't be told of.

    Args:
        image: opened, but not decoded.
        value_range: what [`to_range`] takes.

    Raises:
        ValueError: for 16-bit colours.
    """
    if value_range is not None and is_wide_color(image):
        raise ValueError(
            "16-bit colours, which are read by their upper 8 bits: no value_range can be told of them; scale them to 8 "
            "bits instead"
        )


def pixel_layout(image: Image.Image) -> str:
    """How a file that isn't decoded yet lays out its pixels, in Pillow's words."""
    arguments = image.tile[0][3] if getattr(image, "tile", None) else ""
    return str(arguments if isinstance(arguments, str) or not arguments else arguments[0])


def unmap(image: Image.Image) -> None:
    """Have Pillow read a file's pixels, not map them: it scrambles the rows of mapped TIFFs that EXIF turns."""
    if image.format == "TIFF":
        image.filename = ""


def to_rgb(image: Image.Image, value_range=None) -> Image.Image:
    """8-bit RGB from any PIL image, as a person sees it: turned as EXIF says, on white if it is transparent.

    `convert("RGB")` alone would clip greys of more than 8 bits, and show what alpha hides.

    Args:
        value_range: what [`to_range`] takes: black and white in pictures of more than 8 bits; the whole of 16 bits by
            default, of floats 0..1 or 0..255.

    Raises:
        ValueError: for values that such a range can't be told of.
    """
    check_range(image, value_range)
    if is_turned(image):
        unmap(image)
        image = ImageOps.exif_transpose(image)
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        grey = np.asarray(image)
        if image.mode == "I" and image.format in ("PNG", "PPM"):  # what Pillow reads of 16 bits
            grey = grey.astype(np.uint16)
        scaled = scale_values(grey, value_range)
        image = Image.fromarray(scaled.round().astype(np.uint8))
    elif image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")


def from_array(array: np.ndarray, value_range=None) -> Image.Image:
    """8-bit RGB of an array of greys (height, width), or colours (height, width, 3), with opacity (height, width, 4).

    Raises:
        ValueError: for an array of another shape; for floats, of which nobody said what is black and white; and as
            [`scale_values`].
    """
    image_like = array.ndim == 2 or array.ndim == 3 and array.shape[2] in (3, 4)
    if not image_like or not array.size or array.dtype.kind == "f" and value_range is None:
        raise ValueError(
            f"an array of {array.dtype}, {array.shape}: expected uint8, (height, width, 3), or uint16, or what "
            "Image.open returns; for floats, a value_range"
        )
    return to_rgb(Image.fromarray(scale_values(array, value_range).round().astype(np.uint8)))
