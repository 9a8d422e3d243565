# SPDX-License-Identifier: Apache-2.0
"""Labels that a loss can't be computed of, in words: torch names neither them nor what was expected."""

import torch
from torch import Tensor

from .configuration_ocrnet import OCRNetConfig


def check_labels(labels: Tensor, batch: int) -> None:
    """Check the shape and the type of labels before a network computes anything.

    Args:
        labels: expected to be (batch, height, width) int64.
        batch: the number of images.

    Raises:
        ValueError: if they aren't; the message says what to do.
    """
    if not isinstance(labels, Tensor):
        raise ValueError(f"labels are a {type(labels).__name__}, expected a tensor, (batch, height, width) int64")
    if labels.ndim != 3 or len(labels) != batch or 0 in labels.shape:
        raise ValueError(f"labels must be (batch, height, width), got {tuple(labels.shape)} for {batch} images")
    if labels.dtype != torch.int64:
        raise ValueError(f"labels are {labels.dtype}, expected torch.int64: pass labels.long()")


def error_of_labels(labels: Tensor, config: OCRNetConfig) -> ValueError | None:
    """The error to raise if a loss failed because of its labels' values; `None` if they are classes, or unlabelled.

    It is called after a failure, because it reads values back: a step on an accelerator would wait for that. After a
    failure on an accelerator nothing can be read.

    Args:
        labels: (batch, height, width) int64.
        config: its `num_labels` and `loss_ignore_index` are used.
    """
    if labels.device.type != "cpu":
        return None
    classes, ignored = config.num_labels, config.loss_ignore_index
    unknown = labels[((labels < 0) | (labels >= classes)) & (labels != ignored)].unique().tolist()
    if not unknown:
        return None
    return ValueError(
        f"labels hold {', '.join(map(str, unknown[:5]))}{', ...' if len(unknown) > 5 else ''}, expected classes from 0 "
        f"to {classes - 1}, or config.loss_ignore_index ({ignored}) for pixels without a label"
    )
