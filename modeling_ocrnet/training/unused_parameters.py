"""Parameters that no prediction depends on: a norm after the last map, the token of masked patches ..."""

from __future__ import annotations

import logging

import torch

from ..modeling_ocrnet import OCRNetForSemanticSegmentation

logger = logging.getLogger(__name__)

IMAGE = (64, 96)


def freeze_unused_parameters(model: OCRNetForSemanticSegmentation) -> list[str]:
    """Let parameters that the logits don't depend on require no gradients, in place, and log how many they are.

    Otherwise processes that train together would wait for their gradients, and weight decay would move them. They are
    found by one pass of an empty image.

    Args:
        model: on the CPU, before it is wrapped.

    Returns:
        Their names.
    """
    trained = {name: x for name, x in model.named_parameters() if x.requires_grad}
    if not trained:
        return []
    was_training = model.training
    model.eval()  # no statistics are updated, and nothing is dropped by chance
    with torch.enable_grad():
        outputs = model(torch.zeros(1, 3, *IMAGE, device=next(iter(trained.values())).device))
        sums = outputs.logits.sum() + outputs.auxiliary_logits.sum()
        gradients = torch.autograd.grad(sums, list(trained.values()), allow_unused=True)
    model.train(was_training)
    unused = [name for name, gradient in zip(trained, gradients, strict=True) if gradient is None]
    for name in unused:
        trained[name].requires_grad_(False)
    if unused:
        logger.info("%d parameters that no feature map depends on aren't trained: %s", len(unused), ", ".join(unused))
    return unused
