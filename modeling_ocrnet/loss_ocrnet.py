"""The losses that OCRNet is trained with. All of them take logits at label resolution and compute in float32."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .resizing_ocrnet import resize_tiles

STRIP = 2**20  # scores (classes x rows x width) that exist at once, 4 MB: they stay in a processor's caches


def full_precision(x: Tensor) -> Tensor:
    """float32 where it was less: sums over many pixels and softmaxes lose small classes in half precision."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def segmentation_loss(logits: Tensor, labels: Tensor, config) -> Tensor:
    """One head's loss, as the config composes it: cross-entropy (with OHEM, class weights) plus Lovász-softmax.

    Args:
        logits: (batch, classes, h, w); brought to the labels' size (bilinear) where they differ.
        labels: (batch, height, width) int64, `config.loss_ignore_index` where nothing is known.
        config ([`OCRNetConfig`]): read are `align_corners`, `loss_*`, `cross_entropy_weight`, `lovasz_weight`,
            `class_weights` and `ohem_*`.

    Returns:
        A scalar; 0 with zero gradients where no pixel counts.

    Raises:
        ValueError: for fewer than two classes, and for class weights of another number of classes.
    """
    if logits.shape[1] < 2:
        raise ValueError(
            f"logits of {logits.shape[1]} class: its loss is 0 whatever the image shows; train two classes, the object "
            "and a background"
        )
    logits = full_precision(logits)
    mined = config.ohem_threshold is not None or config.ohem_min_kept is not None
    # elsewhere than on a processor, strips would be many small kernels
    if logits.device.type == "cpu" and not mined and not config.lovasz_weight:
        weight = _weight(config.class_weights, logits)
        total = _CrossEntropyInStrips.apply(logits, labels, weight, config.loss_ignore_index, config.align_corners)
        counted = labels != config.loss_ignore_index
        return config.cross_entropy_weight * total / _count(labels, counted, weight, config.loss_average, total)
    if logits.shape[-2:] != labels.shape[-2:]:
        logits = F.interpolate(logits, size=labels.shape[-2:], mode="bilinear", align_corners=config.align_corners)
    loss = logits.new_zeros(())
    if config.cross_entropy_weight:
        loss = loss + config.cross_entropy_weight * cross_entropy(
            logits,
            labels,
            ignore_index=config.loss_ignore_index,
            average=config.loss_average,
            class_weights=config.class_weights,
            ohem_threshold=config.ohem_threshold,
            ohem_min_kept=config.ohem_min_kept,
        )
    if config.lovasz_weight:
        loss = loss + config.lovasz_weight * lovasz_softmax(logits.softmax(1), labels, config.loss_ignore_index)
    return loss


def cross_entropy(
    logits: Tensor,
    labels: Tensor,
    ignore_index: int = 255,
    average: str = "all",
    class_weights: list[float] | None = None,
    ohem_threshold: float | None = None,
    ohem_min_kept: int | None = None,
) -> Tensor:
    """Cross-entropy, optionally of the hard pixels alone.

    `average="all"` divides by the number of all pixels, ignored ones included, as mmsegmentation does by default;
    `"valid"` by the (class-weighted) number of pixels that train, as torch and the authors do.
    """
    weight = _weight(class_weights, logits)
    chosen = None
    if ohem_threshold is not None or ohem_min_kept is not None:
        chosen = hard_pixels(logits.detach(), labels, ohem_threshold, ohem_min_kept or 1, ignore_index, weight)
    elif average == "all":
        return F.cross_entropy(logits, labels, weight, ignore_index=ignore_index, reduction="sum") / labels.numel()

    losses = F.cross_entropy(logits, labels, weight, ignore_index=ignore_index, reduction="none")
    counted = labels != ignore_index
    if chosen is not None:
        losses, counted = losses * chosen, counted & chosen
    return losses.sum() / _count(labels, counted, weight, average, losses)


def _weight(class_weights: list[float] | None, logits: Tensor) -> Tensor | None:
    if class_weights is None:
        return None
    if len(class_weights) != logits.shape[1]:
        raise ValueError(f"class_weights has {len(class_weights)} entries for logits of {logits.shape[1]} classes")
    return torch.tensor(class_weights, device=logits.device, dtype=logits.dtype)


def _count(labels: Tensor, counted: Tensor, weight: Tensor | None, average: str, like: Tensor) -> Tensor | int:
    """What a sum of losses is divided by."""
    if average == "all":
        return labels.numel()
    total = counted.sum().to(like.dtype) if weight is None else weight[labels[counted]].sum()
    # where no pixel counts the sum is 0, and so must the loss be
    return total.clamp(min=torch.finfo(like.dtype).tiny)


class _CrossEntropyInStrips(torch.autograd.Function):
    """The sum of the cross-entropy over all pixels, of logits that are brought to the labels' size (bilinear).

    Columns are resized first. Then a strip of rows at a time is resized, turned into losses and at once into its part
    of the gradient, so that scores of all classes at full size never exist.
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
                mix = mix[: height - start, : rows - first]  # (strip, rows that it reads)
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
    def backward(ctx, of_total):
        (gradient,) = ctx.saved_tensors
        return gradient * of_total, None, None, None, None


def _cross_entropy_(scores: Tensor, labels: Tensor, weight: Tensor | None, ignore_index: int) -> Tensor:
    """The summed cross-entropy of scores (classes, height, width), which are overwritten with its gradient."""
    valid = labels != ignore_index
    truth = labels.where(valid, 0)
    share = valid.to(scores.dtype) if weight is None else weight[truth] * valid  # (height, width)
    truth = truth.unsqueeze(0)
    scores -= scores.amax(0)
    of_truth = scores.gather(0, truth)[0]
    total = scores.exp_().sum(0)
    scores *= share / total
    scores.scatter_add_(0, truth, -share.unsqueeze(0))
    return ((total.log() - of_truth) * share).sum()


def hard_pixels(
    logits: Tensor,
    labels: Tensor,
    threshold: float | None,
    min_kept: int,
    ignore_index: int = 255,
    class_weights: Tensor | None = None,
) -> Tensor:
    """The pixels that online hard example mining trains on, a boolean (batch, height, width).

    With a threshold: those whose true class has a probability below it, or below that of the hardest
    `min_kept * batch` if that is more. Without: the `min_kept * batch` of the highest loss.
    Agrees with mmsegmentation's `OHEMPixelSampler`.
    """
    valid = labels != ignore_index
    chosen = torch.zeros_like(valid)
    kept = min_kept * labels.shape[0]
    if threshold is None:
        losses = F.cross_entropy(logits, labels, class_weights, ignore_index=ignore_index, reduction="none")
        hardest = losses[valid].topk(min(kept, int(valid.sum()))).indices
        chosen.view(-1)[valid.view(-1).nonzero().squeeze(1)[hardest]] = True
        return chosen
    truth = logits.softmax(1).gather(1, labels.where(valid, 0).unsqueeze(1)).squeeze(1)
    probabilities = truth[valid]
    if probabilities.numel():
        kth = min(kept, probabilities.numel() - 1)
        threshold = max(threshold, float(probabilities.sort().values[kth]))
        chosen[valid] = probabilities < threshold
    return chosen


def lovasz_softmax(probabilities: Tensor, labels: Tensor, ignore_index: int = 255) -> Tensor:
    """Lovász-softmax (arXiv 1705.08790), a surrogate of 1 - mIoU over the classes present in the batch.

    Args:
        probabilities: (batch, classes, height, width), summing to 1 over classes.
        labels: (batch, height, width).

    Returns:
        A scalar; 0 where no pixel counts.
    """
    valid = labels != ignore_index
    probabilities = probabilities.movedim(1, -1)[valid]  # (pixels, classes)
    labels = labels[valid]
    losses = []
    for c in labels.unique().tolist():
        truth = (labels == c).to(probabilities.dtype)
        errors, order = (truth - probabilities[:, c]).abs().sort(descending=True)
        losses.append(errors @ _lovasz_gradient(truth[order]))
    return torch.stack(losses).mean() if losses else probabilities.sum() * 0.0


def _lovasz_gradient(truth: Tensor) -> Tensor:
    """Gradient of the Lovász extension of the Jaccard loss, (pixels,), for truths sorted by descending error."""
    total = truth.sum()
    intersection = total - truth.cumsum(0)
    union = total + (1 - truth).cumsum(0)
    jaccard = 1 - intersection / union
    return torch.cat([jaccard[:1], jaccard[1:] - jaccard[:-1]])
