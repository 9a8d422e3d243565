"""Tileable noise, generated once per process and cropped at random offsets."""

from __future__ import annotations

from functools import cache
from math import ceil

import cv2
import numpy as np

SIDE = 512  # cells of a noise table, in both directions; a power of two

# For each kind: the exponent by which amplitude falls with frequency, and the lowest and highest frequency (in cycles
# per table).
_KINDS = {
    "grain": (0.3, 8, 256),  # asphalt, plaster
    "stain": (1.3, 1, 128),  # dirt, tone of large areas
    "cloud": (1.7, 1, 90),
    "leaf": (0.75, 12, 160),  # clumps of leaves
    "white": (-0.5, 0, SIDE),  # a sensor's noise
}


@cache
def table(kind: str) -> np.ndarray:
    """The noise table of one kind, tiled twice in each direction, so that a crop of up to SIDE cells never wraps.

    (2 * SIDE, 2 * SIDE) float32 with mean 0 and standard deviation 1, the same in every process.
    """
    power, low, high = _KINDS[kind]
    rng = np.random.default_rng(sorted(_KINDS).index(kind))
    fy, fx = np.fft.fftfreq(SIDE)[:, None] * SIDE, np.fft.rfftfreq(SIDE)[None] * SIDE
    frequency = np.hypot(fy, fx)
    band = (frequency >= low) & (frequency <= high)
    gain = np.where(band, np.maximum(frequency, 1) ** -(power + 0.5), 0)
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((SIDE, SIDE))) * gain, (SIDE, SIDE))
    return np.tile(((noise - noise.mean()) / noise.std()).astype(np.float32), (2, 2))


def sample(kind: str, rng: np.random.Generator, shape: tuple[int, int], step: float | tuple = 1.0) -> np.ndarray:
    """A random crop of noise, float32 of `shape`, which must not be modified; `step`: cells per pixel (in y and x)."""
    steps = step if isinstance(step, tuple) else (step, step)
    rows, columns = (n if k == 1 else min(max(ceil(n * k) + 1, 2), SIDE) for n, k in zip(shape, steps, strict=True))
    y, x = rng.integers(SIDE, size=2).tolist()
    if max(rows, columns) <= SIDE:
        crop = table(kind)[y : y + rows, x : x + columns]
    else:  # large pictures repeat the table
        crop = table(kind)[np.ix_((y + np.arange(rows)) % SIDE, (x + np.arange(columns)) % SIDE)]
    if crop.shape == tuple(shape):
        return crop
    return cv2.resize(crop, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)


def lookup(kind: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Noise at the coordinates u and v in cells (any shapes that broadcast)."""
    return table(kind)[v.astype(np.int32) & (SIDE - 1), u.astype(np.int32) & (SIDE - 1)]


def jitter(rng: np.random.Generator, color, spread: float = 8.0) -> tuple[float, ...]:
    """A random colour near `color`: brightness varies by `spread` (0..255), hue by a third of that."""
    shade, (r, g, b) = rng.normal(0, spread), rng.normal(0, spread / 3, 3).tolist()
    red, green, blue = color
    return tuple(min(max(float(x) + shade, 3.0), 252.0) for x in (red + r, green + g, blue + b))


def pick(rng: np.random.Generator, options, weights=None):
    """A random one of `options`, which may have different types (Generator.choice would convert them to an array)."""
    if weights is None:
        return options[int(rng.random() * len(options))]
    left = rng.random() * sum(weights)
    for option, weight in zip(options, weights, strict=True):
        left -= weight
        if left < 0:
            return option
    return options[-1]
