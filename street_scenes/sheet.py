"""A flat picture measured in metres, with the basic drawing operations."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from .textures import table


@cache
def _plaster() -> np.ndarray:
    """The roughness of walls, (1024, 1024, 4) int16, in grey levels; 0 for the cover."""
    tone = 4.5 * table("grain") + 7 * np.roll(table("stain"), 99, 0)
    return cv2.merge([tone, tone, tone, np.zeros_like(tone)]).astype(np.int16)


class Sheet:
    """A flat picture measured in metres, with y upwards and the origin at the lower left. `image` is (H, W, 4) uint8:
    RGB and cover."""

    def __init__(self, metres: tuple[float, float], pixels: tuple[int, int], color):
        self.width, self.height = metres
        self.kx, self.ky = pixels[0] / metres[0], pixels[1] / metres[1]
        packed = np.array([*color, 255], np.uint8).view(np.uint32)[0]  # filling four bytes at once is faster
        self.image = np.full((pixels[1], pixels[0]), packed).view(np.uint8).reshape(pixels[1], pixels[0], 4)

    def box(self, x0: float, y0: float, x1: float, y1: float, color, cover: int = 255) -> None:
        """Fill a rectangle; coordinates in metres."""
        kx, ky, low = self.kx, self.ky, len(self.image) + 0.5
        left, top = int(x0 * kx + 0.5), int(low - y1 * ky)
        right, bottom = max(int(x1 * kx - 0.5), left), max(int(low - y0 * ky) - 1, top)
        red, green, blue = color
        cv2.rectangle(self.image, (left, top), (right, bottom), (float(red), float(green), float(blue), cover), -1)

    def paste(self, stamp: np.ndarray, side: float, sill: float, x: float, y: float) -> None:
        """Paste a stamp (h, w, 4) so that its content, inside the margins `side` and `sill`, begins at (x, y); in
        metres."""
        h, w = stamp.shape[:2]
        left, low = int((x - side) * self.kx + 0.5), int(len(self.image) - (y - sill) * self.ky + 0.5)
        if left >= 0 and low - h >= 0 and low <= len(self.image):
            self.image[low - h : low, left : left + w] = stamp[:, : self.image.shape[1] - left]

    def line(self, x0: float, y0: float, x1: float, y1: float, width: float, color) -> None:
        """Draw a line; coordinates and width in metres."""
        rows = self.image.shape[0]
        ends = [(round(x * self.kx), round(rows - y * self.ky)) for x, y in ((x0, y0), (x1, y1))]
        thick = max(1, round(width * min(self.kx, self.ky)))
        start, stop = ends
        cv2.line(self.image, start, stop, (*(float(x) for x in color), 255), thick)

    def rough(self, rng: np.random.Generator) -> None:
        """Add noise: fine grain and large stains."""
        rows, columns = self.image.shape[:2]
        if rows * columns < 800:  # too far away to be visible
            return
        noise = _plaster()
        while min(noise.shape[0] - rows, noise.shape[1] - columns) < 0:  # repeated for large pictures
            noise = np.tile(noise, (2, 2, 1))
        y, x = rng.integers(noise.shape[0] - rows + 1), rng.integers(noise.shape[1] - columns + 1)
        cv2.add(self.image, noise[y : y + rows, x : x + columns], self.image, dtype=cv2.CV_8U)


def draw_bricks(sheet: Sheet, course: float, length: float, joint, rng: np.random.Generator) -> None:
    """Draw courses of bricks or stones, if the resolution is high enough."""
    rows, columns = sheet.image.shape[:2]
    base = sheet.image[-1, 0, :3].astype(float)
    for x, y, shade in (rng.uniform(0, 1, (14, 3)) * (sheet.width, sheet.height, 0.38) + (0, 0, 0.8)).tolist():
        sheet.box(x, y - y % course, x + length, y - y % course + course, np.clip(base * shade, 0, 255))
    if sheet.ky * course < 3:
        return
    joint = np.asarray(joint, np.uint8)
    y = np.arange(rows) / (sheet.ky * course)
    sheet.image[y % 1 < max(0.08, 1 / (sheet.ky * course)), :, :3] = joint
    if sheet.kx * length >= 4:
        x = np.arange(columns) / (sheet.kx * length)
        for odd in (0, 1):  # every second course is shifted by half a brick
            across = np.flatnonzero((x + 0.5 * odd) % 1 < 1 / (sheet.kx * length))
            sheet.image[np.ix_(np.flatnonzero(y.astype(int) % 2 == odd), across, np.arange(3))] = joint
