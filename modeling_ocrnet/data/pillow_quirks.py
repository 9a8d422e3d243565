"""What Pillow does without a word: it scales the values of masks, and leaves out bands and pages of TIFFs."""

from __future__ import annotations

import re

import numpy as np
from PIL import Image

from .errors import DataError

# Pillow's names of layouts that it stretches to 0..255 (2 and 4 bits), or turns over (I: white is zero)
_GREY = re.compile(r"[1L](?:;([24])?(I?)R?)?")
_STEPS = {None: 1, "2": 85, "4": 17}
_ALPHA = (1, 2)  # of TIFF's ExtraSamples: multiplied in, and beside the colours
_REDUCED, _MASK = 1, 4  # bits of TIFF's NewSubfileType
MOST_PAGES = 100  # that are looked at


class UndoPillowScaling:
    """Turns decoded pixels back into the values that a mask's file holds: Pillow stretches greys, or inverts them.

    Args:
        mask: opened, but not decoded yet; netpbm's maximum is taken out of its way.
    """

    def __init__(self, mask: Image.Image):
        self.step, self.inverted = 1, False
        tiles = getattr(mask, "tile", None)
        if not tiles or (mask.format == "PPM" and mask.mode == "1"):
            return  # an array's; or netpbm's black, which every program reads as 0, though its bit is 1
        codec, box, offset, layout = tiles[0]
        if codec in ("ppm", "ppm_plain") and mask.mode in ("L", "I"):
            # as if the maximum were that of all bits: then nothing is stretched, or cut off at it
            mask.tile = [(codec, box, offset, (layout[0], 255 if mask.mode == "L" else 65535))]
            return
        name = layout if isinstance(layout, str) else layout[0] if isinstance(layout, tuple) and layout else None
        if isinstance(name, str) and (grey := _GREY.fullmatch(name)):
            self.step, self.inverted = _STEPS[grey[1]], bool(grey[2])

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """The stored values of the decoded pixels, (height, width)."""
        if self.inverted:
            pixels = ~pixels
        return pixels // np.uint8(self.step) if self.step > 1 else pixels


def check_tiff_is_read_whole(image: Image.Image, path: str | None) -> None:
    """Refuse a TIFF of which Pillow would leave out bands or pages without a word.

    Args:
        image: opened, of any format.
        path: for messages.

    Raises:
        DataError: naming what would be left out.
    """
    if image.format != "TIFF":
        return
    used = image.getbands()
    bands, extra = _number(image, 277, len(used)), image.tag_v2.get(338, ())
    if image.mode == "RGBA" and not (extra and extra[0] in _ALPHA):
        used = used[:3]  # the fourth is something else than transparency
    if bands > len(used):
        wanted = "red, green and blue" if len(used) >= 3 else "the one that counts"
        raise DataError(
            f"{path}: holds {bands} bands, of which only {', '.join(used)} would be read: write {wanted} to a file of "
            "their own" + (" (or mark the fourth as alpha, ExtraSamples 2)" if bands == 4 else "")
        )
    if image.is_animated and (page := _second_page(image)):
        raise DataError(
            f"{path}: holds several pages, of which only the first would be read, and page {page + 1} is as large: "
            "write the one that counts to a file of its own"
        )


def _second_page(image: Image.Image) -> int | None:
    """The first page beside page 0 that is neither a smaller copy nor a transparency mask."""
    size = _number(image, 256, 0), _number(image, 257, 0)
    try:
        for page in range(1, MOST_PAGES):
            try:
                image.seek(page)
            except EOFError:
                return None
            except SyntaxError:  # of pixels that Pillow doesn't read: its tags are there
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
