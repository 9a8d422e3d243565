"""Segment images: whole or with a sliding window, at several scales, mirrored. Memory is bounded for any image size.

Logits stay at the network's resolution (a quarter of the image's for HRNet). They are resized to the image's size,
averaged and reduced to labels in strips of rows, so the scores of all classes at full size never exist at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import reduce

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..common.errors import UserError
from ..data.labels import IGNORE, label_dtype

STRIP = 2**20  # scores (classes x rows x width) per strip: 4 MB in float32


@dataclass
class InferenceOptions:
    """How images are segmented."""

    window: tuple[int, int] | None = None
    """Height and width of the sliding window (null: the whole image at once)."""
    stride: tuple[int, int] | None = None
    """Vertical and horizontal stride of the window (null: two thirds of the window)."""
    scales: list[float] = field(default_factory=lambda: [1.0])
    """Scale factors at which each image is segmented; the probabilities are averaged."""
    flip: bool = False
    """Also segment each image mirrored; the probabilities are averaged."""
    batch_size: int = 1
    """Images of equal size, or windows, per forward pass."""

    def __post_init__(self):
        if self.stride is not None and self.window is None:
            raise UserError("stride is given, but no window")
        if self.window is not None:
            height, width = self.window
            self.stride = self.stride or (max(1, round(height * 2 / 3)), max(1, round(width * 2 / 3)))
            down, across = self.stride
            if min(height, width, down, across) < 1 or down > height or across > width:
                raise UserError(
                    f"window is {self.window} and stride {self.stride}: strides must be from 1 to the window's size"
                )
        if not self.scales or not all(0 < x < math.inf for x in self.scales):
            raise UserError(f"scales must be positive numbers, got {self.scales}")
        if self.batch_size < 1:
            raise UserError(f"batch_size must be at least 1, got {self.batch_size}")


@dataclass
class _Window:
    """Part of a view: its box in pixels and its logits, (classes, h, w) at any resolution."""

    top: int
    left: int
    height: int
    width: int
    logits: Tensor


class TTAView:
    """One pass over an image (at one scale, possibly mirrored): windows of logits on a canvas of `size`."""

    def __init__(self, size: tuple[int, int], align_corners: bool):
        self.size, self.align_corners = size, align_corners
        self.windows: list[_Window] = []

    def rows(self, start: int, stop: int) -> Tensor:
        """Logits of rows `start` to `stop` of the canvas, (classes, stop - start, width), averaged over windows."""
        if len(self.windows) == 1:  # a whole image
            return interpolate_rows(self.windows[0].logits, self.size, start, stop, self.align_corners)
        total = count = torch.zeros(0)
        for window in self.windows:
            top, bottom = max(start, window.top), min(stop, window.top + window.height)
            if top >= bottom:
                continue
            box = (window.height, window.width)
            part = interpolate_rows(window.logits, box, top - window.top, bottom - window.top, self.align_corners)
            if not len(total):
                total = part.new_zeros(len(part), stop - start, self.size[1])
                count = part.new_zeros(stop - start, self.size[1])
            columns = slice(window.left, window.left + window.width)
            total[:, top - start : bottom - start, columns] += part
            count[top - start : bottom - start, columns] += 1
        return total / count


def interpolate_rows(
    source: Tensor | TTAView, size: tuple[int, int], start: int, stop: int, align_corners: bool
) -> Tensor:
    """Rows `start` to `stop` of a bilinear `F.interpolate` to `size`, in float32.

    Args:
        source: (channels, h, w), or a view.
        size: height and width of the whole result.
        start, stop: the range of rows.
        align_corners: as in `F.interpolate`.

    Returns:
        (channels, stop - start, width).
    """
    height, width = source.size if isinstance(source, TTAView) else source.shape[-2:]
    if isinstance(source, TTAView) and (height, width) == tuple(size):
        return source.rows(start, stop)
    row = torch.arange(start, stop, dtype=torch.float64)
    if align_corners:
        position = row * ((height - 1) / max(size[0] - 1, 1))
    else:
        position = ((row + 0.5) * (height / size[0]) - 0.5).clamp(min=0)
    upper = position.long().clamp(max=height - 1)
    lower = (upper + 1).clamp(max=height - 1)
    first, last = int(upper[0]), int(lower[-1]) + 1
    needed = source.rows(first, last) if isinstance(source, TTAView) else source[:, first:last].float()
    weight = (position - upper).to(needed)[:, None]
    upper, lower = (x.to(needed.device) - first for x in (upper, lower))
    mixed = torch.lerp(needed[:, upper], needed[:, lower], weight)
    if width == size[1]:
        return mixed
    return F.interpolate(mixed[None], size=(stop - start, size[1]), mode="bilinear", align_corners=align_corners)[0]


class Prediction:
    """The network's logits for one image, not yet resized to the image's size.

    Args:
        views: the passes over the image; all have the same weight.
        size: height and width of the image.
    """

    def __init__(self, views: list[TTAView], size: tuple[int, int]):
        self.views, self.size = views, (int(size[0]), int(size[1]))

    def rows(self, start: int, stop: int) -> Tensor:
        """Scores of rows `start` to `stop`, (classes, stop - start, width) float32: logits if there is one view, mean
        probabilities if there are several."""
        parts = (interpolate_rows(view, self.size, start, stop, view.align_corners) for view in self.views)
        if len(self.views) == 1:
            return next(parts)
        return reduce(torch.add, (part.softmax(dim=0) for part in parts)) / len(self.views)

    def label_map(self) -> np.ndarray:
        """(height, width) class indices, uint8; uint16 for more than 255 classes."""
        classes = len(self.views[0].windows[0].logits)
        narrow = torch.uint8 if classes <= IGNORE else torch.int32
        step = max(1, STRIP // (classes * self.size[1]))
        strips = range(0, self.size[0], step)
        scores = (self.rows(x, min(x + step, self.size[0])) for x in strips)
        # the same as argmax, in a quarter of the time on a CPU
        labels = torch.cat([x.max(dim=0).indices.to(narrow).cpu() for x in scores]).numpy()
        return labels.astype(label_dtype(classes), copy=False)


@torch.no_grad()
def predict(model, pixel_values: Tensor, options: InferenceOptions | None = None, size=None) -> list[Prediction]:
    """Run the network on images of one size. Agrees with mmsegmentation's whole, slide and multi-scale inference.

    Args:
        model ([`OCRNetForSemanticSegmentation`]): the model in eval mode, on any device, in any precision.
        pixel_values: (batch, 3, height, width), normalised.
        options: how to segment; whole images by default.
        size: height and width of the label maps; the size of `pixel_values` by default.

    Returns:
        One prediction per image.
    """
    options = options or InferenceOptions()
    height, width = pixel_values.shape[-2:]
    pixel_values = pixel_values.to(model.device, model.dtype)
    views: list[list[TTAView]] = [[] for _ in pixel_values]
    for scale in options.scales:
        shape = (max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5)))
        seen = pixel_values
        if shape != (height, width):
            seen = F.interpolate(pixel_values, size=shape, mode="bilinear", align_corners=False)
        for mirrored in (False, True) if options.flip else (False,):
            for of_image, view in zip(
                views, _forward_windows(model, seen.flip(3) if mirrored else seen, options), strict=True
            ):
                of_image.append(_unflip(view, model.config.flip_pairs) if mirrored else view)
    return [Prediction(x, size or (height, width)) for x in views]


def _forward_windows(model, images: Tensor, options: InferenceOptions) -> list[TTAView]:
    """One view for each of the images, (batch, 3, height, width)."""
    height, width = images.shape[-2:]
    size = (height, width)
    views = [TTAView(size, model.config.align_corners) for _ in images]
    boxes = [(i, *box) for box in window_boxes(size, options) for i in range(len(images))]
    for first in range(0, len(boxes), options.batch_size):
        chunk = boxes[first : first + options.batch_size]
        crops = torch.stack([images[i, :, top : top + h, left : left + w] for i, top, left, h, w in chunk])
        for (i, top, left, h, w), logits in zip(chunk, model(crops).logits, strict=True):
            views[i].windows.append(_Window(top, left, h, w, logits))
    return views


def window_boxes(size: tuple[int, int], options: InferenceOptions) -> Iterator[tuple[int, int, int, int]]:
    """Boxes (top, left, height, width) of equal size that cover an image. The last ones are shifted to lie inside."""
    height, width = (min(a, b) for a, b in zip(options.window or size, size, strict=True))
    down, across = options.stride or size
    for top in _starts(size[0], height, down):
        for left in _starts(size[1], width, across):
            yield top, left, height, width


def _starts(length: int, window: int, stride: int) -> list[int]:
    count = -(-(length - window) // stride) + 1
    return [min(i * stride, length - window) for i in range(count)]


def _unflip(view: TTAView, flip_pairs) -> TTAView:
    """Undo the mirroring of a view: positions, and classes that have a left and a right."""
    order = None
    for window in view.windows:
        if order is None:
            order = torch.arange(len(window.logits))
            for a, b in flip_pairs:
                order[a], order[b] = b, a
        window.left = view.size[1] - window.left - window.width
        window.logits = window.logits.flip(2)[order.to(window.logits.device)]
    return view


def segment(model, processor, images: list[Image.Image], options: InferenceOptions | None = None) -> list[np.ndarray]:
    """Segment images.

    Args:
        model ([`OCRNetForSemanticSegmentation`]): the model in eval mode.
        processor ([`OCRNetImageProcessor`]): the model's image processor.
        images: RGB images of any sizes. Up to `options.batch_size` consecutive images of equal size share a forward
            pass.
        options: how to segment; whole images by default.

    Returns:
        One label map per image, at its size: (height, width) class indices, uint8 (uint16 for more than 255 classes).
    """
    options = options or InferenceOptions()
    label_maps, first = [], 0
    while first < len(images):
        size = images[first].size
        stop = first + 1
        while stop < min(len(images), first + options.batch_size) and images[stop].size == size:
            stop += 1
        inputs = processor(images=images[first:stop], return_tensors="pt")
        predictions = predict(model, inputs["pixel_values"], options, size[::-1])
        label_maps += [prediction.label_map() for prediction in predictions]
        first = stop
    return label_maps
