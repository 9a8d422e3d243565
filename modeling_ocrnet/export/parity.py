"""Compare an exported network with the original one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from ..common.errors import UserError, is_bug, reason
from ..configuration_ocrnet import ignore_index
from ..evaluation.mean_iou import MeanIoU
from ..inference.segmentation import segment

# Shares of pixels on which the exported network must agree. In float32, only ties may be decided differently.
BOUNDS = {"fp32": 0.999, "fp16": 0.99, "bf16": 0.98, "int8": 0.98}


@dataclass(frozen=True)
class ParityReport:
    """The result of a comparison.

    Args:
        images: the number of images.
        labels: share of their pixels with the same class in both.
        before, after: mIoU of the original and the exported network, 0 to 1; `None` without references.
    """

    images: int
    labels: float
    before: float | None
    after: float | None

    def __str__(self) -> str:
        text = f"the same class on {self.labels:.2%} of the pixels of {self.images} images"
        if self.before is None or self.after is None:
            return text
        change = 100 * (self.after - self.before)
        return f"{text}; mIoU {100 * self.after:.2f} for {100 * self.before:.2f} ({change:+.2f} points)"

    def check(self, least: float, most_points: float) -> None:
        """Check that the exported network agrees with the original one.

        Args:
            least: the smallest accepted share of pixels with the same class.
            most_points: the largest accepted loss of mIoU, in percentage points.

        Raises:
            UserError: if it doesn't; the message says what was found and expected.
        """
        if self.labels < least:
            raise UserError(f"{self}: expected at least {least:.2%}")
        if self.before is not None and self.after is not None and 100 * (self.before - self.after) > most_points:
            raise UserError(f"{self}: at most {most_points} points may be lost")


SIZES = ((64, 96), (65, 101))  # height and width of images that any export must take
LARGEST_DIFFERENCE = 0.05  # of float32 logits, as a share of the largest one


def check_sizes(model, exported, precision: str) -> None:
    """Check that an exported network takes images of several sizes, and in float32 that it computes the same.

    HRNet's exports do. Code of other backbones may hold a size that was current when it was exported.

    Args:
        model: the original network, float32 on the CPU.
        exported: the exported network.
        precision: its precision.

    Raises:
        UserError: if it doesn't.
    """
    generator = torch.Generator().manual_seed(0)
    for height, width in SIZES:
        images = torch.randn(1, 3, height, width, generator=generator)
        with torch.no_grad():
            expected = model(images).logits
        try:
            found = exported(images).logits
        except Exception as error:  # whatever a runtime raises
            if is_bug(error):
                raise
            raise UserError(
                f"the export doesn't take an image of {height}x{width} ({reason(error)}): this backbone can't be "
                "exported in this format for images of any size"
            ) from error
        difference = (found.float() - expected).abs().max() / expected.abs().max()
        if found.shape != expected.shape or (precision == "fp32" and difference > LARGEST_DIFFERENCE):
            raise UserError(
                f"the export computes something else for an image of {height}x{width}: this backbone can't be exported "
                "in this format for images of any size"
            )


def compare(model, exported, processor, rows: Iterable[dict], order: np.ndarray | None = None) -> ParityReport:
    """Segment images with both networks and compare the label maps.

    Args:
        model: the original network.
        exported: the exported network.
        processor: the image processor.
        rows: dicts with `image`, and `label`, the reference or `None`.
        order: the references' index of each of the model's classes, if their order differs.
    """
    classes, ignored = model.config.num_labels, ignore_index(model.config.num_labels)
    same = pixels = images = 0
    before, after, scored = MeanIoU(), MeanIoU(), False
    for row in rows:
        (one,), (other,) = (segment(x, processor, [row["image"]]) for x in (model, exported))
        images, pixels, same = images + 1, pixels + one.size, same + int((one == other).sum())
        if row["label"] is not None and (np.asarray(row["label"]) != ignored).any():
            scored, reference = True, np.asarray(row["label"])
            for metric, label_map in ((before, one), (after, other)):
                label_map = label_map if order is None else order[label_map]
                metric.add(prediction=label_map, reference=reference)
    scores = [
        x.compute(num_labels=classes, ignore_index=ignored)["mean_iou"] if scored else None for x in (before, after)
    ]
    return ParityReport(images, same / pixels, *scores)
