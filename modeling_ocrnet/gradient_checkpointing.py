# SPDX-License-Identifier: Apache-2.0
"""Gradient checkpointing: a block keeps only its input, and the backward pass computes the block again.

transformers does it for each [`GradientCheckpointingLayer`] of a model. Two things are added here. Running statistics
of batch norms are the same as without it. Backbones whose blocks aren't such layers (ResNet, ConvNeXt, timm's) can be
checkpointed too.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache, partial

from torch import nn
from transformers import GradientCheckpointingLayer, PreTrainedModel
from transformers.utils import logging

logger = logging.get_logger(__name__)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, nn.InstanceNorm1d, nn.InstanceNorm2d)


class BatchNormCheckpointingMixin:
    """For models with batch norms: gradient checkpointing leaves their running statistics as they are without it."""

    if hasattr(PreTrainedModel, "activation_checkpointing_enable"):

        def activation_checkpointing_enable(self, activation_checkpointing_kwargs: dict | None = None, **kwargs):
            """As the base class; see [`checkpoint_without_bn_update`]."""
            _disable_in_place_layers(self)
            super().activation_checkpointing_enable(
                _checkpointing_kwargs(self, activation_checkpointing_kwargs), **kwargs
            )

    else:  # the name before transformers 5.23

        def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: dict | None = None, **kwargs):
            """As the base class; see [`checkpoint_without_bn_update`]."""
            _disable_in_place_layers(self)
            super().gradient_checkpointing_enable(_checkpointing_kwargs(self, gradient_checkpointing_kwargs), **kwargs)


def _checkpointing_kwargs(model: nn.Module, given: dict | None) -> dict:
    if not model.supports_gradient_checkpointing:
        raise ValueError(
            f"{type(model).__name__} does not support gradient checkpointing, because its backbone has no repeated "
            "blocks: train smaller batches or crops"
        )
    """The arguments of `torch.utils.checkpoint.checkpoint`: the given ones, with the contexts for batch norms."""
    given = dict(given or {})
    if given.pop("use_reentrant", False):
        logger.warning_once(
            "use_reentrant=True would update the batch norms' running statistics twice: use_reentrant=False is "
            "used, whose gradients are the same"
        )
    return {**given, "use_reentrant": False, "context_fn": partial(checkpoint_without_bn_update, model)}


def _disable_in_place_layers(model: nn.Module) -> None:
    """Let no layer of a block work in place, because it might change the block's input, which is needed again."""
    for block in (x for x in model.modules() if isinstance(x, GradientCheckpointingLayer)):
        for layer in block.modules():
            if getattr(layer, "inplace", False):
                layer.inplace = False


def enable_gradient_checkpointing(model: PreTrainedModel) -> None:
    """Call `model.activation_checkpointing_enable()`, or what it was called before transformers 5.23."""
    enable = getattr(model, "activation_checkpointing_enable", None)
    (enable or model.gradient_checkpointing_enable)()


def checkpoint_without_bn_update(model: nn.Module):
    """The `context_fn` of `torch.utils.checkpoint.checkpoint`, if `partial` binds the model: the contexts of a block's
    first and second forward pass. Without it, both passes would update the running statistics."""
    return nullcontext(), frozen_bn_stats(model)


@contextmanager
def frozen_bn_stats(model: nn.Module) -> Iterator[None]:
    """A context in which a model's norms don't update their running statistics."""
    norms = [m for m in model.modules() if isinstance(m, NORMS) and m.track_running_stats]
    kept = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, momentum, batches in kept:
            norm.momentum, norm.num_batches_tracked = momentum, batches


def make_checkpointable(backbone: nn.Module) -> bool:
    """Let transformers checkpoint a backbone's blocks, if none of its modules is a [`GradientCheckpointingLayer`] yet.

    Only the blocks' classes change, to subclasses of the same name. A block holds two or more layers with weights, but
    no other block. It is an element of an `nn.Sequential` or `nn.ModuleList`, or has a sibling of its class. Another
    choice would need another amount of memory, and give the same results, if blocks keep no state but norms' running
    statistics.

    Returns:
        Whether the backbone can be checkpointed.
    """
    if any(isinstance(x, GradientCheckpointingLayer) for x in backbone.modules()):
        return True
    blocks = _innermost_blocks(backbone)
    for block in blocks:
        block.__class__ = _checkpointed_class(type(block))
    return bool(blocks)


def _innermost_blocks(module: nn.Module) -> list[nn.Module]:
    kinds = Counter(type(x) for x in module.children())
    found = []
    for child in module.children():
        weighted = sum(isinstance(x, (nn.Conv2d, nn.Linear)) for x in child.modules())
        # an nn.ModuleDict may hold layers that read a list which grows (DenseNet)
        repeated = kinds[type(child)] > 1 and not isinstance(module, nn.ModuleDict)
        repeated = repeated or isinstance(module, (nn.Sequential, nn.ModuleList))
        can_run = not isinstance(child, (nn.ModuleList, nn.ModuleDict))
        found += _innermost_blocks(child) or ([child] if repeated and can_run and weighted >= 2 else [])
    return found


@cache
def _checkpointed_class(kind: type[nn.Module]) -> type[nn.Module]:
    """A subclass with the same name, because accelerate and the backbone's own code may ask for the name."""
    fields = {"__module__": kind.__module__, "__reduce_ex__": lambda block, _: (_rebuilt, (kind,), block.__dict__)}
    return type(kind.__name__, (GradientCheckpointingLayer, kind), fields)


def _rebuilt(kind: type[nn.Module]) -> nn.Module:
    """A block without its state: pickle finds `kind` by its name, but not the class made of it."""
    checkpointed = _checkpointed_class(kind)
    return checkpointed.__new__(checkpointed)
