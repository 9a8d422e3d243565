"""Cross-entropy that never holds the scores of all classes at full size."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from ...loss_cross_entropy_ocrnet import class_weight_tensor, loss_denominator
from ...loss_fields_ocrnet import check_weights
from ...loss_ocrnet import (
    SegmentationLoss,
    autocast_disabled,
    check_classes,
    upcast_to_float32,
)
from ...resizing_ocrnet import resize_tiles

STRIP = 2**20  # scores (classes x rows x width) per strip: 4 MB, which fit a processor's caches


class FastSegmentationLoss(SegmentationLoss):
    """Computes a plain cross-entropy in strips of rows on CPUs. Other devices would run many small kernels for it."""

    def forward(self, logits: Tensor, labels: Tensor, config, losses: Mapping[str, float] | None = None) -> Tensor:
        weights = {name: x for name, x in (config.losses if losses is None else losses).items() if x}
        mined = config.ohem_threshold is not None or config.ohem_min_kept is not None
        alone = weights.keys() == {"cross_entropy"} and not mined and not config.label_smoothing
        if logits.device.type != "cpu" or not alone:
            return super().forward(logits, labels, config, losses)
        check_weights("losses", weights)
        check_classes(logits)
        with autocast_disabled(logits):
            logits = upcast_to_float32(logits)
            weight = class_weight_tensor(config.class_weights, logits)
            total = _CrossEntropyInStrips.apply(logits, labels, weight, config.loss_ignore_index, config.align_corners)
            counted = labels != config.loss_ignore_index
            denominator = loss_denominator(labels, counted, weight, config.loss_normalizer, total)
            return weights["cross_entropy"] * total / denominator


class _CrossEntropyInStrips(torch.autograd.Function):
    """The sum of the cross-entropy over all pixels, for logits that are resized (bilinear) to the labels' size.

    Columns are resized first. Then each strip of rows is resized, and its losses and its part of the gradient are
    computed.
    """

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)
    def forward(ctx, logits, labels, weight, ignore_index, align_corners):
        batch, classes, rows, columns = logits.shape
        height, width = labels.shape[1:]
        wide = F.interpolate(logits.contiguous(), (rows, width), mode="bilinear", align_corners=align_corners)
        gradient = torch.zeros_like(wide) if ctx.needs_input_grad[0] else None
        total = logits.new_zeros(())
        strips, matrices = resize_tiles(rows, height, 1, align_corners, wide, max(1, STRIP // (classes * width)))
        for image in range(batch):
            for start, first, mix in zip(
                range(0, height, matrices.shape[1]), strips[:, 0].tolist(), matrices.squeeze(2), strict=True
            ):
                mix = mix[: height - start, : rows - first]  # (rows of the strip, rows read)
                own, read = slice(start, start + len(mix)), slice(first, first + mix.shape[1])
                scores = mix @ wide[image, :, read]  # (classes, strip, width)
                total += _cross_entropy_(scores, labels[image, own], weight, ignore_index)
                if gradient is not None:
                    gradient[image, :, read] += mix.t() @ scores
        if gradient is not None:
            gradient = torch.ops.aten.upsample_bilinear2d_backward(
                gradient, (rows, width), (batch, classes, rows, columns), align_corners
            )
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(ctx, of_total):  # type: ignore[override]
        (gradient,) = ctx.saved_tensors
        return gradient * of_total, None, None, None, None


def _cross_entropy_(scores: Tensor, labels: Tensor, weight: Tensor | None, ignore_index: int) -> Tensor:
    """The summed cross-entropy of scores, (classes, height, width). They are overwritten with its gradient."""
    valid = labels != ignore_index
    truth = labels.where(valid, 0)
    pixel_weight = valid.to(scores.dtype) if weight is None else weight[truth] * valid  # (height, width)
    truth = truth.unsqueeze(0)
    scores -= scores.amax(0)
    of_truth = scores.gather(0, truth)[0]
    total = scores.exp_().sum(0)
    scores *= pixel_weight / total
    scores.scatter_add_(0, truth, -pixel_weight.unsqueeze(0))
    return ((total.log() - of_truth) * pixel_weight).sum()
