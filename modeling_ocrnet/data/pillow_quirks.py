"""Handles what Pillow does silently: it scales the values of masks, and leaves out bands and pages of TIFFs."""

from __future__ import annotations

import re

import numpy as np
from PIL import Image

from .errors import DataError

# Pillow's names of the layouts that it scales to 0..255 (2 and 4 bits) or inverts (I: white is zero)
_GREY = re.compile(r"[1L](?:;([24])?(I?)R?)?")
_STEPS = {None: 1, "2": 85, "4": 17}
_ALPHA = (1, 2)  # values of TIFF's ExtraSamples: associated and unassociated alpha
_REDUCED, _MASK = 1, 4  # bits of TIFF's NewSubfileType
MOST_PAGES = 100  # pages that are checked


class UndoPillowScaling:
    """Turns decoded pixels back into the values stored in a mask's file: Pillow scales or inverts grey values.

    Args:
        mask: opened, but not decoded yet. For netpbm files, its maximum is changed so that Pillow doesn't scale.
    """

    def __init__(self, mask: Image.Image):
        self.step, self.inverted = 1, False
        tiles = getattr(mask, "tile", None)
        if not tiles or (mask.format == "PPM" and mask.mode == "1"):
            return  # made from an array; or netpbm's black, which every program reads as 0 although its bit is 1
        codec, box, offset, layout = tiles[0]
        if codec in ("ppm", "ppm_plain") and mask.mode in ("L", "I"):
            # with the largest possible maximum, Pillow neither scales nor clips
            mask.tile = [(codec, box, offset, (layout[0], 255 if mask.mode == "L" else 65535))]
            return
        name = layout if isinstance(layout, str) else layout[0] if isinstance(layout, tuple) and layout else None
        if isinstance(name, str) and (grey := _GREY.fullmatch(name)):
            self.step, self.inverted = _STEPS[grey[1]], bool(grey[2])

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Convert decoded pixels (height, width) to the stored values."""
        if self.inverted:
            pixels = ~pixels
        return pixels // np.uint8(self.step) if self.step > 1 else pixels


def check_tiff_is_read_whole(image: Image.Image, path: str | None) -> None:
    """Refuse a TIFF in which Pillow would silently leave out bands or pages.

    Args:
        image: opened, of any format.
        path: for messages.

    Raises:
        DataError: names what would be left out.
    """
    if image.format != "TIFF":
        return
    used = image.getbands()
    bands, extra = _number(image, 277, len(used)), image.tag_v2.get(338, ())
    if image.mode == "RGBA" and not (extra and extra[0] in _ALPHA):
        used = used[:3]  # the fourth isn't transparency
    if bands > len(used):
        wanted = "red, green and blue" if len(used) >= 3 else "the band you need"
        raise DataError(
            f"{path}: holds {bands} bands, of which only {', '.join(used)} would be read: write {wanted} to a separate "
            "file" + (" (or mark the fourth as alpha, ExtraSamples 2)" if bands == 4 else "")
        )
    if image.is_animated and (page := _second_page(image)):
        raise DataError(
            f"{path}: holds several pages, of which only the first would be read, and page {page + 1} is as large: "
            "write the page you need to a separate file"
        )


def _second_page(image: Image.Image) -> int | None:
    """The first page after page 0 that is neither a smaller copy nor a transparency mask; `None` if there is none."""
    size = _number(image, 256, 0), _number(image, 257, 0)
    try:
        for page in range(1, MOST_PAGES):
            try:
                image.seek(page)
            except EOFError:
                return None
            except SyntaxError:  # Pillow can't read its pixels, but has read its tags
                pass
            if not _number(image, 254, 0) & (_REDUCED | _MASK) and size == tuple(
                _number(image, x, 0) for x in (256, 257)
            ):
                return page
    finally:
        image.seek(0)
    return None


def _number(image: Image.Image, tag: int, default: int) -> int:
    value = image.tag_v2.get(tag, default)
    return value if isinstance(value, int) else default
