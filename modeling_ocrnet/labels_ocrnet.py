# SPDX-License-Identifier: Apache-2.0
"""A check of labels, whose mistakes torch reports late, and on accelerators without a value."""

import torch
from torch import Tensor

from .configuration_ocrnet import OCRNetConfig


def check_labels(labels: Tensor, batch: int, config: OCRNetConfig) -> None:
    """Check labels before a network computes anything.

    Their values are checked on CPUs only, because on an accelerator the check would wait for all queued work.

    Args:
        labels: expected to be (batch, height, width) int64, with classes or `config.loss_ignore_index` as values.
        batch: the number of images.
        config: its `num_labels` and `loss_ignore_index` are used.

    Raises:
        ValueError: for another shape or type, or, on a CPU, for other values; the message says what to do.
    """
    if labels.ndim != 3 or len(labels) != batch:
        raise ValueError(f"labels must be (batch, height, width), got {tuple(labels.shape)} for {batch} images")
    if labels.dtype != torch.int64:
        raise ValueError(f"labels are {labels.dtype}, expected torch.int64: pass labels.long()")
    if labels.device.type != "cpu" or torch.compiler.is_compiling():
        return
    classes, ignored = config.num_labels, config.loss_ignore_index
    lowest, highest = labels.aminmax() if labels.numel() else (0, 0)
    if lowest < 0 or highest >= classes:  # pixels without a label, or a mistake
        unknown = labels[((labels < 0) | (labels >= classes)) & (labels != ignored)].unique().tolist()
        if unknown:
            raise ValueError(
                f"labels hold {', '.join(map(str, unknown[:5]))}{', ...' if len(unknown) > 5 else ''}, expected "
                f"classes from 0 to {classes - 1}, or config.loss_ignore_index ({ignored}) for pixels without a label"
            )
