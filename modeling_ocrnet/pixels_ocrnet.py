# SPDX-License-Identifier: Apache-2.0
"""Convert images to 8-bit RGB. The whole project follows these rules: [`to_rgb`] for PIL images and files,
[`scale_values`] for the values of arrays."""

import numpy as np
from PIL import Image, ImageOps

ORIENTATION = 0x0112  # EXIF tag: 1 upright, 2 to 8 mirrored or turned
SLACK = 0.01  # floats may exceed 0..1 or 0..255 by this share, because of rounding


def to_range(value_range) -> tuple[float, float] | None:
    """The values of black and white, from `(low, high)` or from a number of bits (12 means 0 to 4095).

    Raises:
        ValueError: if `value_range` is neither.
    """
    if value_range is None:
        return None
    given = value_range
    if isinstance(value_range, int):
        value_range = (0, 2**value_range - 1) if value_range in range(1, 33) and value_range is not True else (0, 0)
    low, high = value_range
    if not low < high < float("inf") or low == -float("inf"):
        raise ValueError(f"value_range is {given}, expected two numbers, the lower one first, or 1 to 32 bits")
    return float(low), float(high)


def scale_values(values: np.ndarray, value_range=None) -> np.ndarray:
    """Scale pixel values to 0..255: uint8 unchanged, uint16 from 0..65535, floats from 0..1 or 0..255, whichever fits.

    Args:
        values: an array of any shape.
        value_range: the values of black and white, as in [`to_range`]; uint8 ignores it.

    Returns:
        uint8; for floats, float32 without rounding.

    Raises:
        ValueError: if no range fits the values, or they aren't finite numbers.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype == bool:
        return values.astype(np.uint8) * np.uint8(255)
    is_float = values.dtype.kind == "f"
    if values.dtype.kind not in "fui":
        raise ValueError(f"pixels of {values.dtype}, expected integers or floats")
    lowest, highest = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    if not np.isfinite([lowest, highest]).all():
        raise ValueError("some pixels are NaN or infinite: replace them")
    low, high = to_range(value_range) or (0.0, _top(values.dtype, lowest, highest))
    scaled = ((values.astype(np.float32) - np.float32(low)) * np.float32(255 / (high - low))).clip(0, 255)
    return scaled if is_float else scaled.round().astype(np.uint8)


def _top(dtype: np.dtype, lowest: float, highest: float) -> float:
    """The value of white, if no `value_range` is given."""
    if dtype == np.uint16:
        return 65535.0
    tops, slack = ((1.0, 255.0), SLACK) if dtype.kind == "f" else ((255.0,), 0.0)
    for top in tops:
        if lowest >= -slack * top and highest <= (1 + slack) * top:
            return top
    expected = "0 to 1 or 0 to 255" if dtype.kind == "f" else "0 to 255 (uint16: 0 to 65535)"
    raise ValueError(
        f"pixels of {dtype} from {lowest:g} to {highest:g}, expected {expected}: give the values of black and white as "
        f"value_range, for example [{lowest:g}, {highest:g}]"
    )


def orientation(image: Image.Image) -> int:
    """EXIF's orientation: 1 upright, 2 to 4 mirrored or upside down, 5 to 8 on its side; 1 if the value is invalid."""
    found = image.getexif().get(ORIENTATION, 1)
    return found if found in range(1, 9) else 1


def is_turned(image: Image.Image) -> bool:
    """Whether EXIF says that an image must be mirrored or turned to be upright."""
    return orientation(image) != 1


def is_wide_color(image: Image.Image) -> bool:
    """Whether an image, opened but not decoded, has 16-bit colours. Pillow reads only their upper 8 bits."""
    return len(image.getbands()) > 1 and ";16" in pixel_layout(image)


def check_range(image: Image.Image, value_range) -> None:
    """Check that a range can be applied to an image.

    Args:
        image: opened, but not decoded.
        value_range: as in [`to_range`].

    Raises:
        ValueError: if there is a range and the image has 16-bit colours.
    """
    if value_range is not None and is_wide_color(image):
        raise ValueError(
            "the image has 16-bit colours, of which only the upper 8 bits are read, so value_range can't be applied: "
            "scale it to 8 bits instead"
        )


def pixel_layout(image: Image.Image) -> str:
    """The pixel layout of a file that isn't decoded yet, by Pillow's name for it."""
    arguments = image.tile[0][3] if getattr(image, "tile", None) else ""
    return str(arguments if isinstance(arguments, str) or not arguments else arguments[0])


def unmap(image: Image.Image) -> None:
    """Make Pillow read a file's pixels, not map them: it scrambles the rows of mapped TIFFs that EXIF turns."""
    if image.format == "TIFF":
        image.filename = ""


def to_rgb(image: Image.Image, value_range=None) -> Image.Image:
    """Convert any PIL image to 8-bit RGB, as a viewer shows it: turned by its EXIF, transparent parts on white.

    `convert("RGB")` alone would clip greys with more than 8 bits, and show what alpha hides.

    Args:
        image: a PIL image.
        value_range: the values of black and white in images with more than 8 bits, as in [`to_range`]. By default, the
            whole range of 16 bits, or 0..1 or 0..255 for floats.

    Raises:
        ValueError: if no range fits the values, or a range can't be applied to them.
    """
    check_range(image, value_range)
    if is_turned(image):
        unmap(image)
        image = ImageOps.exif_transpose(image)
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        grey = np.asarray(image)
        if image.mode == "I" and image.format in ("PNG", "PPM"):  # these are 16-bit files
            grey = grey.astype(np.uint16)
        scaled = scale_values(grey, value_range)
        image = Image.fromarray(scaled.round().astype(np.uint8))
    elif image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")


def from_array(array: np.ndarray, value_range=None) -> Image.Image:
    """Convert an array to 8-bit RGB: (height, width) greys, (height, width, 3) RGB or (height, width, 4) RGBA.

    Raises:
        ValueError: if the array has another shape, or holds floats without a `value_range`; and as [`scale_values`].
    """
    image_like = array.ndim == 2 or array.ndim == 3 and array.shape[2] in (3, 4)
    if not image_like or not array.size or array.dtype.kind == "f" and value_range is None:
        raise ValueError(
            f"an array of {array.dtype}, {array.shape}: expected uint8 or uint16, (height, width, 3), or what "
            "Image.open returns; for floats, a value_range"
        )
    return to_rgb(Image.fromarray(scale_values(array, value_range).round().astype(np.uint8)))
