"""Parts of a model that training leaves as they are."""

from __future__ import annotations

import logging
from functools import cache
from typing import Literal

from torch import nn

from ..modeling_ocrnet import OCRNetForSemanticSegmentation
from .backbone_parts import first_stages

logger = logging.getLogger("modeling_ocrnet.training")


def freeze(model: OCRNetForSemanticSegmentation, part: int | Literal["backbone"] | None) -> None:
    """Leave a part of a model out of its training, in place: gradients of its parameters aren't computed.

    [`keep_frozen_norms_in_eval`] does the rest, once all layers have their final classes.

    Args:
        model: on the CPU.
        part: `"backbone"`, or the number of its first stages, the stem with them; `None` freezes nothing.

    Raises:
        UserError: if the backbone hasn't so many stages.
    """
    if part is None:
        return
    stages = None if part == "backbone" else first_stages(model, part)
    for name, parameter in model.backbone.named_parameters():
        if stages is None or name in stages:
            parameter.requires_grad_(False)


def keep_frozen_norms_in_eval(model: nn.Module) -> int:
    """As [`keep_batch_norms_in_eval`], for batch norms in parts of a model in which no parameter requires gradients.

    Returns:
        The number of these norms.
    """
    for module in model.modules():
        parameters = list(module.parameters())
        if parameters and not any(x.requires_grad for x in parameters):
            keep_batch_norms_in_eval(module)
    return sum(isinstance(x, _StaysInEval) for x in model.modules())


def log_frozen(model: nn.Module, norms: int) -> None:
    """One line on what of a model isn't trained, `norms` batch norms among it."""
    sizes = {True: 0, False: 0}
    for parameter in model.parameters():
        sizes[parameter.requires_grad] += parameter.numel()
    statistics = f", and the statistics of {norms} batch norms" if norms else ""
    logger.info("frozen: %d of %d parameters%s", sizes[False], sum(sizes.values()), statistics)


def keep_batch_norms_in_eval(module: nn.Module) -> nn.Module:
    """Put a module's batch norms into eval mode for good, in place: `train()` leaves them there.

    They normalise by their running statistics in training too, and don't update them. Their weights and biases are
    trained if they require gradients. Only the norms' classes change: parameters, buffers, hooks and state dict keys
    stay the same.

    What replaces batch norms, as `nn.SyncBatchNorm.convert_sync_batchnorm` does, must be called before.

    Args:
        module: a model or a part of one, such as a stage of its backbone.

    Returns:
        The same module.

    Example:

    >>> from torch import nn
    >>> from modeling_ocrnet.training.freezing import keep_batch_norms_in_eval

    >>> model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.Dropout2d())
    >>> [x.training for x in keep_batch_norms_in_eval(model).train()]
    [True, False, True]
    """
    for norm in module.modules():
        if isinstance(norm, (nn.BatchNorm1d, nn.BatchNorm2d, nn.SyncBatchNorm)) and not isinstance(norm, _StaysInEval):
            norm.__class__ = _in_eval(type(norm))  # type: ignore[assignment, arg-type]
            norm.eval()
    return module


class _StaysInEval:
    """Goes before a batch norm's own class, which may have a forward pass of its own: timm's includes an activation."""

    def train(self, mode: bool = True):
        return super().train(False)  # type: ignore[misc]


@cache
def _in_eval(kind: type[nn.Module]) -> type[nn.Module]:
    fields = {"__reduce_ex__": lambda norm, _: (_rebuilt, (kind,), norm.__dict__)}
    return type(f"{kind.__name__}InEval", (_StaysInEval, kind), fields)


def _rebuilt(kind: type[nn.Module]) -> nn.Module:
    """A batch norm without its state: pickle finds `kind` by its name, but not the class made of it."""
    in_eval = _in_eval(kind)  # type: ignore[arg-type]
    return in_eval.__new__(in_eval)
