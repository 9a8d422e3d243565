"""An exponential moving average of the weights (EMA), beside the weights that are trained."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def decay_at(averaged: int, decay: float) -> float:
    """The decay of the next update, after `averaged` of them: it grows to `decay` as (1 + n) / (10 + n).

    A constant decay of 0.999 would still hold 60% of the first weights after 500 updates; this way the average spans
    the last tenth of the updates until it spans 1 / (1 - decay) of them, and short runs have use of it too. As
    TensorFlow's ExponentialMovingAverage does with `num_updates`.
    """
    return min(decay, (1 + averaged) / (10 + averaged))


def weight_average(model: torch.nn.Module, decay: float) -> AveragedModel:
    """An average of `model`'s weights, which `update_parameters(model)` moves on; `.module` is the averaged network.

    Batch norm's running mean and variance are averaged like the weights (as timm and torchvision's references do):
    those of the trained network belong to other weights, and those of a few micro-batches are noisy. Its counters are
    copied.

    Args:
        model: on its device, not wrapped.
        decay: of an update, once warmed up (see [`decay_at`]).
    """

    def average(averaged: list[torch.Tensor], current: list[torch.Tensor], count: torch.Tensor | int) -> None:
        if averaged[0].is_floating_point():
            get_ema_multi_avg_fn(decay_at(int(count), decay))(averaged, current, count)
        else:
            torch._foreach_copy_(averaged, current)

    return AveragedModel(model, multi_avg_fn=average, use_buffers=True).requires_grad_(False)


def agree_on_buffers(accelerator: Accelerator, model: torch.nn.Module) -> None:
    """Give every process the main process's batch norm statistics, which are those that are saved.

    Without SyncBatchNorm each process has its own between two updates, and scores would mix them.
    """
    if accelerator.num_processes > 1:
        broadcast(list(model.buffers()))
