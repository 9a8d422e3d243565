"""The parts of a backbone, by depth: its stem, its blocks, and its stages.

Nothing here knows the backbones' names for them. Blocks are the layers that gradient checkpointing recomputes, and a
stage is what a feature map is made of.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import GradientCheckpointingLayer

from ..common.errors import UserError
from ..modeling_ocrnet import OCRNetForSemanticSegmentation

_SIZES = (64, 128, 224, 256, 384, 512)  # of images that are tried: some backbones take only their own size
# HRNet's stages; their maps don't tell, because each depends on nearly all of them
_HRNET = [("conv1", "bn1", "conv2", "bn2"), ("layer1",), *((f"transition{i}", f"stage{i + 1}") for i in (1, 2, 3))]


def is_hrnet(backbone: nn.Module) -> bool:
    """Whether a backbone is an HRNet, this package's or timm's, whose branches run side by side."""
    config: Any = getattr(backbone, "config", None)
    return getattr(config, "model_type", "") == "hrnet" or str(getattr(config, "backbone", "")).startswith("hrnet")


def blocks(backbone: nn.Module) -> list[nn.Module]:
    """A backbone's blocks, in order.

    They are the innermost layers that can be checkpointed. If such a layer holds an `nn.ModuleList`, it is a stage
    (Swin's), and its blocks are the list's elements.
    """
    layers = [x for x in backbone.modules() if isinstance(x, GradientCheckpointingLayer)]
    inner = [x for x in layers if sum(isinstance(y, GradientCheckpointingLayer) for y in x.modules()) == 1]
    found: list[nn.Module] = []
    for layer in inner:
        lists = [x for x in layer.children() if isinstance(x, nn.ModuleList)]
        found += [block for x in lists for block in x] or [layer]
    return found


def block_depths(backbone: nn.Module) -> tuple[dict[str, int], int]:
    """The depth of each of a backbone's parameters, by its name, and the number of blocks.

    Depths count blocks from 1. What is registered before the first block has 0, what is registered between two blocks
    has that of the second one, and what is registered after the last block has one more than it.
    """
    found = blocks(backbone)
    of_blocks = {id(x): depth for depth, block in enumerate(found, 1) for x in block.parameters()}
    depths, depth = {}, len(found) + 1
    for name, parameter in reversed(list(backbone.named_parameters())):
        depth = of_blocks.get(id(parameter), depth)
        depths[name] = depth
    for name, parameter in backbone.named_parameters():
        if id(parameter) in of_blocks:
            break
        depths[name] = 0
    return depths, len(found)


def first_stages(model: OCRNetForSemanticSegmentation, count: int) -> set[str]:
    """Names, within the backbone, of the parameters of its stem and of its first `count` stages.

    Stage i of HRNet is its stage i. Of a transformer whose last map alone is read, it is block i, and what is
    registered before it. Of other backbones it is all that the i-th feature map depends on.

    Args:
        model: on the CPU.
        count: 0 for the stem alone.

    Raises:
        UserError: if the backbone hasn't so many stages.
    """
    backbone = model.backbone
    names = [name for name, _ in backbone.named_parameters()]
    depths, blocks_found = block_depths(backbone)
    if model.config.pyramid_stride is not None:
        _check_count(count, blocks_found)
        return {name for name in names if depths[name] <= count}
    if getattr(backbone.config, "model_type", None) == "hrnet":
        _check_count(count, len(_HRNET) - 1)
        parts = {name for stage in _HRNET[: count + 1] for name in stage}
        return {name for name in names if name.partition(".")[0] in parts}
    try:
        maps = run_small(backbone)
    except ValueError as error:
        raise UserError(f"model.freeze counts stages, but {error}, so they can't be found: choose backbone") from error
    _check_count(count, len(maps))
    if not blocks_found and not count:
        raise UserError(
            "model.freeze is 0, the stem, which ends at the first block, but this backbone has no repeated blocks: "
            f"choose 1 to {len(maps)}, or backbone"
        )
    reached = {x for feature_map in maps[:count] for x in _origins(feature_map)}
    named = dict(backbone.named_parameters())
    return {name for name in names if id(named[name]) in reached or (blocks_found and depths[name] == 0)}


def _check_count(count: int, stages: int) -> None:
    if not 0 <= count <= stages:
        raise UserError(
            f"model.freeze is {count}, but the backbone has {stages} stages: choose 0 (its stem alone) to {stages}, or "
            "backbone"
        )


def run_small(backbone: nn.Module) -> tuple[torch.Tensor, ...]:
    """A backbone's feature maps of a small image, with the graph that they were computed by.

    Raises:
        ValueError: if it takes no image of the sizes that are tried.
    """
    mode, problem = backbone.training, None
    own_size = getattr(backbone.config, "image_size", None)
    sizes = [*_SIZES, *([own_size] if isinstance(own_size, int) else [])]
    device = next((x.device for x in backbone.parameters()), None)
    try:
        backbone.eval()  # so that the batch norms' statistics stay
        for size in sizes:
            try:
                with torch.enable_grad():
                    return backbone(torch.zeros(1, 3, size, size, device=device)).feature_maps
            except (RuntimeError, ValueError, AssertionError) as error:
                problem = error
    finally:
        backbone.train(mode)
    raise ValueError(
        f"the backbone can't be run on an image of any of the sizes {sizes} ({' '.join(str(problem).split())[:200]})"
    )


def _origins(tensor: torch.Tensor) -> set[int]:
    """The `id` of each parameter that a tensor depends on."""
    found, seen, left = set(), set(), [tensor.grad_fn]
    while left:
        node = left.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):  # a leaf's
            found.add(id(node.variable))
        left += [x for x, _ in node.next_functions]
    return found
