"""The optimizer, its learning rate, and an exponential moving average of the weights (EMA)."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..compat import copy_tensors_
from ..modeling_ocrnet import OCRNetForSemanticSegmentation
from .recipe import Recipe, ScheduleRecipe


def build_optimizer(model: OCRNetForSemanticSegmentation, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD or AdamW over two groups, backbone and heads; each knows its own base learning rate as `base_lr`."""
    options = recipe.optimizer
    heads = [p for name, p in model.named_parameters() if not name.startswith("backbone.")]
    groups = [
        {"params": list(model.backbone.parameters()), "base_lr": options.lr},
        {"params": heads, "base_lr": options.lr * options.head_lr_multiplier},
    ]
    if options.name == "adamw":
        return _adamw(groups, lr=options.lr, weight_decay=options.weight_decay)
    return torch.optim.SGD(groups, lr=options.lr, momentum=options.momentum, weight_decay=options.weight_decay)


def _adamw(groups: list[dict], **options) -> torch.optim.AdamW:
    """AdamW in one fused kernel where the parameters' device has one: HRNet has hundreds of small tensors."""
    try:
        return torch.optim.AdamW(groups, fused=True, **options)
    except RuntimeError:  # what torch raises for a device without
        return torch.optim.AdamW(groups, **options)


def learning_rate(step: int, base: float, schedule: ScheduleRecipe) -> float:
    """Polynomial decay from `base` to the floor, after a linear warm-up if there is one. A pure function of the step.

    Args:
        step: the update, counted from 0; the last one, `max_steps - 1`, has the floor.
        base: the learning rate at step 0 (without warm-up).
        schedule: length, power, floor and warm-up.

    Agrees with mmengine's PolyLR; the warm-up is torch's LinearLR on top.
    """
    progress = min(1.0, step / max(1, schedule.max_steps - 1))
    rate = (base - schedule.min_lr) * (1 - progress) ** schedule.power + schedule.min_lr
    if step < schedule.warmup_steps:
        rate *= schedule.warmup_ratio + (1 - schedule.warmup_ratio) * step / schedule.warmup_steps
    return rate


def warmed_up_decay(averaged: int, decay: float) -> float:
    """The decay of the next update, after `averaged` of them: it grows to `decay` as (1 + n) / (10 + n).

    A constant decay of 0.999 would still hold 60% of the first weights after 500 updates; this way the average spans
    the last tenth of the updates until it spans 1 / (1 - decay) of them, and short runs have use of it too. As
    TensorFlow's ExponentialMovingAverage does with `num_updates`.
    """
    return min(decay, (1 + averaged) / (10 + averaged))


def build_ema(model: torch.nn.Module, decay: float) -> AveragedModel:
    """An average of `model`'s weights, which `update_parameters(model)` moves on; `.module` is the averaged network.

    Batch norm's running mean and variance are averaged like the weights (as timm and torchvision's references do):
    those of the trained network belong to other weights, and those of a few micro-batches are noisy. Its counters are
    copied.

    Args:
        model: on its device, not wrapped.
        decay: of an update, once warmed up (see [`warmed_up_decay`]).
    """

    def average(averaged: list[torch.Tensor], current: list[torch.Tensor], count: torch.Tensor | int) -> None:
        if averaged[0].is_floating_point():
            get_ema_multi_avg_fn(warmed_up_decay(int(count), decay))(averaged, current, count)
        else:
            copy_tensors_(averaged, current)

    return AveragedModel(model, multi_avg_fn=average, use_buffers=True).requires_grad_(False)


def broadcast_buffers(accelerator: Accelerator, model: torch.nn.Module) -> None:
    """Give every process the main process's batch norm statistics, which are those that are saved.

    Without SyncBatchNorm each process has its own between two updates, and scores would mix them.
    """
    if accelerator.num_processes > 1:
        broadcast(list(model.buffers()))
