"""Detects images whose values use little of their range or exceed it, e.g. 12-bit camera images in 16-bit files."""

from __future__ import annotations

import numpy as np
from PIL import Image

from ..common.errors import UserError
from ..pixels_ocrnet import to_range

LITTLE = 1 / 4  # share of the range: the two highest bits are unused
OUTSIDE = 0.01  # share of the values


def check_value_range(value_range) -> None:
    """Refuse a range that [`to_range`] doesn't accept.

    Raises:
        UserError: says what was expected.
    """
    try:
        to_range(value_range)
    except ValueError as error:
        raise UserError(str(error)) from error


def unusual_range(image: Image.Image, wide_color: bool, value_range) -> str | None:
    """A description of unusual values in a decoded image of more than 8 bits; `None` if there is nothing unusual."""
    if wide_color:
        top = max(high for _, high in np.reshape(image.getextrema(), (-1, 2)).tolist())
        return None if top >= 256 * LITTLE else f"16-bit colours that use {256 * top + 255} of 65535: nearly black"
    if image.mode not in ("I", "F") and not image.mode.startswith("I;"):
        return None
    values = np.asarray(image)
    lowest, highest = float(values.min()), float(values.max())
    if (limits := to_range(value_range)) is not None:
        low, high = limits
        outside = float(((values < low) | (values > high)).mean())
        if outside > OUTSIDE:
            return (
                f"{outside:.0%} of the values, {lowest:g} to {highest:g}, lie outside value_range {low:g} to {high:g}"
            )
        return f"values up to {highest:g} of {high:g}: nearly black" if highest < low + LITTLE * (high - low) else None
    if image.mode == "F":
        return f"floats up to {highest:g}, taken as 0 to 255: nearly black" if 1.01 < highest < 255 * LITTLE else None
    if highest < 65535 * LITTLE and (image.mode != "I" or image.format in ("PNG", "PPM")):
        bits = max(1, int(highest).bit_length())
        return (
            f"16-bit values up to {highest:g}, taken as 0 to 65535: nearly black; if {2**bits - 1} is white in all "
            f"images, set value_range {bits}"
        )
    return None
