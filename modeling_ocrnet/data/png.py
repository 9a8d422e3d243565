"""The PNGs that training reads most, 8-bit RGB and grey, straight to arrays: the same pixels as Pillow's, sooner.

Anything else, and whatever could change the picture (transparency, orientation, palettes), is left to Pillow.
"""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image

from .decoding import read_image

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HARMLESS = {b"IHDR", b"IDAT", b"IEND", b"pHYs", b"tIME", b"sRGB", b"gAMA", b"cHRM"}  # neither reader heeds the last
_GREY, _RGB = 0, 2  # PNG's colour types
# Pillow stops after the rows asked for, OpenCV is faster but reads all: below this share of the rows Pillow wins
_WORTH_STOPPING = 0.75


class PlainPng:
    """An image that is decoded when it is sliced, and no further down than the slice's (explicit) end.

    `shape` is (height, width, 3), or (height, width) of a grey file. A PNG can only be read from its top.
    """

    def __init__(self, data: bytes, shape: tuple[int, ...], path: str | None, compressed: list[bytes]):
        self.shape, self.path, self._data, self._compressed = shape, path, data, compressed

    def __getitem__(self, window: tuple[slice, slice]) -> np.ndarray:
        """The pixels of `image[top:bottom, left:right]`.

        Raises:
            DataError: where the file is damaged above the window's end.
        """
        rows = window[0].stop
        pixels = self._top(rows) if rows < _WORTH_STOPPING * self.shape[0] else self.whole()
        if pixels is None:  # Pillow says what is wrong
            pixels = np.asarray(read_image({"path": self.path, "bytes": self._data}))
        return pixels[window]

    def whole(self) -> np.ndarray | None:
        """All pixels, `None` where the file is damaged."""
        flag = cv2.IMREAD_COLOR_RGB if len(self.shape) == 3 else cv2.IMREAD_GRAYSCALE
        return cv2.imdecode(np.frombuffer(self._data, np.uint8), flag)

    def _top(self, rows: int) -> np.ndarray | None:
        mode = "RGB" if len(self.shape) == 3 else "L"
        try:
            image = Image.frombytes(mode, (self.shape[1], rows), b"".join(self._compressed), "zip", mode, 0)
        except (ValueError, OSError):
            return None
        return np.asarray(image)


def plain_png(data: bytes, path: str | None = None) -> PlainPng | None:
    """The image in a file's bytes; `None` where it isn't a PNG of 8-bit RGB or grey, or holds more than pixels."""
    if not data.startswith(_SIGNATURE):
        return None
    compressed, header, kind, position = [], None, None, len(_SIGNATURE)
    while position + 12 <= len(data) and kind != b"IEND":
        length, kind = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
        content = data[position + 8 : position + 8 + length]
        if kind not in _HARMLESS:
            return None
        if kind == b"IHDR":
            header = content
        elif kind == b"IDAT":
            compressed.append(content)
        position += 12 + length
    if header is None or kind != b"IEND" or position != len(data):
        return None
    width, height = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    depth, color, _, _, interlaced = header[8:13]
    if depth != 8 or color not in (_GREY, _RGB) or interlaced or width * height > Image.MAX_IMAGE_PIXELS:
        return None
    return PlainPng(data, (height, width, 3) if color == _RGB else (height, width), path, compressed)
