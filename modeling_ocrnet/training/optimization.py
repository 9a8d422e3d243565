"""The optimizer, its learning rate, and an exponential moving average of the weights (EMA)."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch.optim.swa_utils import AveragedModel

from ..common.compat import copy_tensors_, lerp_tensors_, skip_step_if
from ..modeling_ocrnet import OCRNetForSemanticSegmentation
from .parameter_groups import parameter_groups
from .recipe import Recipe, ScheduleRecipe


def build_optimizer(model: OCRNetForSemanticSegmentation, recipe: Recipe, fused: bool = True) -> torch.optim.Optimizer:
    """SGD or AdamW over the parameters that require gradients, in the groups of [`parameter_groups`].

    Args:
        model: on its device.
        recipe: with the optimizer's options.
        fused: whether one kernel may update all of HRNet's hundreds of small tensors, if the device has it.

    Raises:
        UserError: for options that don't fit the model.
    """
    options = recipe.optimizer
    groups = parameter_groups(model, options)
    device = groups[0]["params"][0].device
    kind: type[torch.optim.AdamW] | type[torch.optim.SGD]
    common: dict[str, Any] = {"lr": options.lr, "weight_decay": options.weight_decay}
    if options.name == "adamw":
        kind = torch.optim.AdamW
    else:
        kind, common["momentum"] = torch.optim.SGD, options.momentum
    # None: without fused kernels, torch chooses between a loop over tensors and lists of them
    has_kernel = fused and has_fused_kernel(kind, device)  # type: ignore[arg-type]  # classes do hash
    optimizer = kind(groups, fused=has_kernel or None, **common)
    optimizer.register_load_state_dict_pre_hook(_keep_kernel)
    optimizer.register_load_state_dict_post_hook(_match_layouts)
    if common.get("momentum"):
        optimizer.register_step_pre_hook(_start_momenta)
    return optimizer


@cache
def has_fused_kernel(kind: type[torch.optim.AdamW] | type[torch.optim.SGD], device: torch.device) -> bool:
    """Whether a device has the optimizer's fused kernel, and it skips a step that [`skip_step_if`] tells it to."""
    weight = torch.ones(1, device=device, requires_grad=True)
    weight.grad = torch.ones_like(weight)
    moved = []
    try:
        optimizer = kind([weight], lr=0.5, weight_decay=0.0, fused=True)
        for skip in (0.0, 1.0):
            before = weight.detach().clone()
            skip_step_if(torch.full((), skip, device=device), optimizer)
            optimizer.step()
            moved.append(not torch.equal(before, weight))
    except RuntimeError:  # NotImplementedError is one
        return False
    return moved == [True, False]


def skips_steps(optimizer: torch.optim.Optimizer) -> bool:
    """Whether [`skip_step_if`] works with an optimizer of [`build_optimizer`]."""
    return bool(optimizer.defaults["fused"])


def _start_momenta(optimizer: torch.optim.Optimizer, *_) -> None:
    """Momenta of 0 before the first step: torch's fused kernel begins with unset memory, and a step that is skipped
    (fp16's first ones mostly are) would leave it so."""
    for parameter in (x for group in optimizer.param_groups for x in group["params"] if x.grad is not None):
        if optimizer.state[parameter].get("momentum_buffer") is None:
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


def _keep_kernel(optimizer: torch.optim.Optimizer, state: dict) -> dict:
    """A checkpoint's optimizer state with this machine's kernel: it may have been written on another."""
    kernel = {"fused": optimizer.defaults["fused"]}
    return {**state, "param_groups": [{**group, **kernel} for group in state["param_groups"]]}


def _match_layouts(optimizer: torch.optim.Optimizer) -> None:
    """Moments of a checkpoint with the strides of their parameters.

    Fused kernels go through the memory of both side by side, unchecked on a CPU, and some devices lose strides when
    tensors move.
    """
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            same_shape = isinstance(value, torch.Tensor) and value.shape == parameter.shape
            if same_shape and value.stride() != parameter.stride():
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def learning_rate(step: float, base: float, schedule: ScheduleRecipe) -> float:
    """The decay from `base` to the floor, after a linear warm-up if there is one. A pure function of the step.

    Args:
        step: counted from 0; the last one, `max_steps - 1`, has the floor. It needn't be a whole number: see
            [`modeling_ocrnet.training.time_budget.TimeBudget`].
        base: the learning rate at step 0 (without warm-up).
        schedule: kind, length, power, floor and warm-up.

    Agrees with mmengine's PolyLR, and with torch's CosineAnnealingLR of `max_steps - 1` steps; the warm-up is torch's
    LinearLR on top.
    """
    progress = min(1.0, step / max(1, schedule.max_steps - 1))
    cosine = (1 + math.cos(math.pi * progress)) / 2
    share = cosine if schedule.name == "cosine" else (1 - progress) ** schedule.power
    rate = (base - schedule.min_lr) * share + schedule.min_lr
    if step < schedule.warmup_steps:
        rate *= schedule.warmup_ratio + (1 - schedule.warmup_ratio) * step / schedule.warmup_steps
    return rate


def warmed_up_decay(averaged: int, decay: float) -> float:
    """The decay of the next step, after `averaged` of them: it grows to `decay` as (1 + n) / (10 + n).

    A constant decay of 0.999 would still hold 60% of the first weights after 500 steps; this way the average spans
    the last tenth of the steps until it spans 1 / (1 - decay) of them, and short runs have use of it too. As
    TensorFlow's ExponentialMovingAverage does with `num_updates`.
    """
    return min(decay, (1 + averaged) / (10 + averaged))


class EMA(AveragedModel):
    """An exponential moving average of a model's weights; `.module` is the averaged network.

    Batch norm's running mean and variance are averaged like the weights (as timm and torchvision's references do):
    those of the trained network belong to other weights, and those of a few micro-batches are noisy. Its counters are
    copied.

    Args:
        model: on its device, not wrapped.
        decay: of a step, once warmed up (see [`warmed_up_decay`]).
    """

    def __init__(self, model: torch.nn.Module, decay: float):
        super().__init__(model, use_buffers=True)
        self.decay = decay
        self.requires_grad_(False)

    @torch.no_grad()
    def update_parameters(self, model: torch.nn.Module) -> None:
        """Move the average on towards `model`'s weights; at first, copy them.

        Unlike the method that it replaces, it leaves the counter on the host, and so waits for no device.
        """
        count = int(self.n_averaged)
        weight = 1 - warmed_up_decay(count, self.decay) if count else 1.0
        ours, theirs = ([*x.parameters(), *x.buffers()] for x in (self.module, model))
        pairs = list(zip(ours, theirs, strict=True))
        averaged = [pair for pair in pairs if count and pair[0].is_floating_point()]
        copied = [pair for pair in pairs if not (count and pair[0].is_floating_point())]
        if averaged:
            lerp_tensors_([pair[0] for pair in averaged], [pair[1] for pair in averaged], weight)
        if copied:
            copy_tensors_(*map(list, zip(*copied, strict=True)))
        self.n_averaged += 1


def broadcast_buffers(accelerator: Accelerator, model: torch.nn.Module) -> None:
    """Give every process the main process's batch norm statistics, which are those that are saved.

    Without SyncBatchNorm each process has its own between two steps, and scores would mix them.
    """
    if accelerator.num_processes > 1:
        broadcast(list(model.buffers()))
