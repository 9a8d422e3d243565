"""Training transforms as mmsegmentation defines them; torchvision's differ.

They map arrays to arrays: images are (height, width, 3) uint8 RGB; labels are (height, width) train ids, uint8 or
uint16, whose highest value means "not labelled". Random transforms draw from the generator they are given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from .augmentations import Augmentation, augment
from .labels import IGNORE, count_ids, ignored_in
from .normalization import Normalization


@dataclass(frozen=True)
class TrainingTransform:
    """Random resize, crop, flip, photometric distortion and further augmentations, then normalisation and padding.

    Args:
        crop_size: (height, width) of the output.
        scale: (long, short) edge to which ratio 1 resizes, keeping the aspect ratio.
        ratio_range: the range of the random factor on `scale`.
        cat_max_ratio: a crop is drawn again (at most ten times) while one class covers a larger share of its labelled
            pixels.
        flip_probability: of the horizontal flip.
        photometric: distort brightness, contrast, saturation and hue.
        flip_pairs: train ids that a flip swaps.
        augmentations: further ones, from [`modeling_ocrnet.data.augmentations.for_classes`].
        normalization: of the pixels, at the end; ImageNet's by default.
    """

    crop_size: tuple[int, int]
    scale: tuple[int, int]
    ratio_range: tuple[float, float] = (0.5, 2.0)
    cat_max_ratio: float = 0.75
    flip_probability: float = 0.5
    photometric: bool = True
    flip_pairs: tuple[tuple[int, int], ...] = ()
    augmentations: tuple[Augmentation, ...] = ()
    normalization: Normalization = Normalization()

    def __call__(
        self,
        image: np.ndarray,
        label: np.ndarray,
        rng: np.random.Generator,
        focus: tuple[int, int] | None = None,
    ):
        """Returns pixel values (3, height, width) float32 and labels (height, width) int64.

        `focus` is a point (x, y) in the image's pixels, which the crop holds.
        """
        size = rescaled_size(image.shape[:2], self.scale, rng.uniform(*self.ratio_range))
        if focus is not None:
            focus = rescaled_point(focus, image.shape[:2], size)
        (top, left), label = choose_crop(ResizedLabel(label, size), self.crop_size, self.cat_max_ratio, rng, focus)
        bottom, right = top + label.shape[0], left + label.shape[1]
        image = resize(image, size, until=(bottom, right))[top:bottom, left:right]
        if rng.random() < self.flip_probability:
            image, label = flip(image, label, self.flip_pairs)
        if self.photometric:
            image = distort(image, rng)
        if self.augmentations:
            image, label = augment(self.augmentations, image, label, rng, self.normalization.zero)
        return pad(self.normalization(image), label.astype(np.int64), self.crop_size, ignored_in(label))


def rescaled_size(size: tuple[int, int], scale: tuple[int, int], ratio: float) -> tuple[int, int]:
    """(height, width) of an image of `size`, scaled to the largest size that fits into `scale * ratio`."""
    long, short = int(max(scale) * ratio), int(min(scale) * ratio)
    factor = min(long / max(size), short / min(size))
    return max(1, int(size[0] * factor + 0.5)), max(1, int(size[1] * factor + 0.5))


def rescaled_point(point: tuple[int, int], size: tuple[int, int], to: tuple[int, int]) -> tuple[int, int]:
    """Where the pixel (x, y) of an image of `size` (height, width) comes to lie if it is resized `to` another."""
    x, y = (
        min(max(int((at + 0.5) * want / have), 0), want - 1)
        for at, have, want in zip(point, size[::-1], to[::-1], strict=True)
    )
    return x, y


class ResizedLabel:
    """A label map resized to `size` by nearest neighbour, as OpenCV (and mmsegmentation) does it. Only the windows that
    are read are computed."""

    def __init__(self, label: np.ndarray, size: tuple[int, int]):
        self.label, self.shape = label, tuple(size)
        self._rows, self._columns = (
            np.minimum((np.arange(want) * (1 / (want / have))).astype(np.intp), have - 1)
            for have, want in zip(label.shape, size, strict=True)
        )

    def __getitem__(self, window: tuple[slice, slice]) -> np.ndarray:
        rows, columns = window
        if self.shape == self.label.shape:
            return self.label[window]
        return self.label.take(self._rows[rows], axis=0).take(self._columns[columns], axis=1)


def resize(image: np.ndarray, size: tuple[int, int], until: tuple[int, int] | None = None) -> np.ndarray:
    """Resize bilinearly without antialiasing, as OpenCV does it.

    With `until` (rows, columns), most of what lies below and to the right of it isn't computed. What lies above and to
    the left must be computed: otherwise rounding would change the values of a window.
    """
    if image.shape[:2] == tuple(size):
        return image
    factors = [want / have for want, have in zip(size, image.shape, strict=False)]
    # a value is interpolated between two source pixels, and the second may be one further
    rows, columns = (int(end / factor) + 2 for end, factor in zip(until or size, factors, strict=True))
    part = image[:rows, :columns]
    if all(round(have * factor) == have for have, factor in zip(part.shape, factors, strict=False)):
        part = image  # OpenCV would copy a part that keeps its size instead of resizing it
    return cv2.resize(part, None, fx=factors[1], fy=factors[0], interpolation=cv2.INTER_LINEAR)


def choose_crop(
    label: np.ndarray | ResizedLabel,
    crop: tuple[int, int],
    cat_max_ratio: float,
    rng: np.random.Generator,
    focus: tuple[int, int] | None = None,
) -> tuple[tuple[int, int], np.ndarray]:
    """Draw a random window, again (at most ten times) until it holds more than one class and none covers too much.

    All windows hold the pixel `focus` (x, y), if it is given: their edges are drawn among those that do, and moved
    into the picture, as in NVIDIA's semantic-segmentation.

    Returns:
        The window's top left corner, and its labels.
    """

    def edge(size: int, length: int, point: int | None) -> int:
        last = max(size - length, 0)
        if point is None:
            return int(rng.integers(0, last + 1))
        return min(max(int(rng.integers(point - length + 1, point + 1)), 0), last)

    def draw() -> tuple[int, int]:
        x, y = focus or (None, None)
        return edge(label.shape[0], crop[0], y), edge(label.shape[1], crop[1], x)

    def cut(corner: tuple[int, int]) -> np.ndarray:
        top, left = corner
        return label[top : top + crop[0], left : left + crop[1]]

    corner = draw()
    window = cut(corner)
    if cat_max_ratio >= 1:
        return corner, window
    for _ in range(10):
        counts = count_ids(window)[: ignored_in(window)]
        if np.count_nonzero(counts) > 1 and counts.max() / counts.sum() < cat_max_ratio:
            break
        corner = draw()
        window = cut(corner)
    return corner, window


def flip(image: np.ndarray, label: np.ndarray, pairs: Sequence[tuple[int, int]] = ()) -> tuple[np.ndarray, np.ndarray]:
    """Flip horizontally; the labels of each of `pairs` (left arm, right arm) are swapped."""
    label = cv2.flip(label, 1)
    if pairs:
        swap = np.arange(ignored_in(label) + 1, dtype=label.dtype)
        for a, b in pairs:
            swap[a], swap[b] = b, a
        label = cv2.LUT(label, swap) if label.dtype == np.uint8 else swap[label]
    return cv2.flip(image, 1), label


def distort(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Photometric distortion: four steps, each with probability 1/2; contrast comes before or after the HSV steps."""

    def chance() -> bool:
        return rng.random() < 0.5

    contrast_first = chance()
    if chance():
        image = shift_brightness(image, rng.uniform(-32, 32))
    if contrast_first and chance():
        image = scale_contrast(image, rng.uniform(0.5, 1.5))
    if chance():
        image = scale_saturation(image, rng.uniform(0.5, 1.5))
    if chance():
        image = shift_hue(image, int(rng.integers(-18, 18)))
    if not contrast_first and chance():
        image = scale_contrast(image, rng.uniform(0.5, 1.5))
    return image


# All four map each value independently: a table of 256 entries gives the same as arithmetic on the whole image.
_LEVELS = np.arange(256, dtype=np.float32)


def _linear(factor: float = 1.0, offset: float = 0.0) -> np.ndarray:
    return np.clip(_LEVELS * np.float32(factor) + np.float32(offset), 0, 255).astype(np.uint8)


def shift_brightness(image: np.ndarray, offset: float) -> np.ndarray:
    """Add `offset` to every value, clipped to 0..255."""
    return cv2.LUT(image, _linear(offset=offset))


def scale_contrast(image: np.ndarray, factor: float) -> np.ndarray:
    """Multiply every value by `factor` (around 0, not around the mean), clipped to 0..255."""
    return cv2.LUT(image, _linear(factor))


def scale_saturation(image: np.ndarray, factor: float) -> np.ndarray:
    """Multiply S of HSV by `factor`."""
    return _on_hsv(image, 1, _linear(factor))


def shift_hue(image: np.ndarray, degrees: int) -> np.ndarray:
    """Rotate H of HSV, in OpenCV's units of two degrees: 0..179."""
    return _on_hsv(image, 0, ((np.arange(256) + degrees) % 180).astype(np.uint8))


def _on_hsv(image: np.ndarray, channel: int, table: np.ndarray) -> np.ndarray:
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    tables = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    tables[0, :, channel] = table
    return cv2.cvtColor(cv2.LUT(hsv, tables), cv2.COLOR_HSV2RGB)


normalize = Normalization()  # ImageNet's


def pad(
    pixels: np.ndarray, label: np.ndarray, size: tuple[int, int], ignore: int = IGNORE
) -> tuple[np.ndarray, np.ndarray]:
    """Pad to `size` at the bottom and the right: pixels with 0 (the mean), labels with `ignore`."""
    bottom, right = size[0] - label.shape[0], size[1] - label.shape[1]
    if bottom > 0 or right > 0:
        border = ((0, max(bottom, 0)), (0, max(right, 0)))
        pixels = np.pad(pixels, ((0, 0), *border))
        label = np.pad(label, border, constant_values=ignore)
    return pixels, label
