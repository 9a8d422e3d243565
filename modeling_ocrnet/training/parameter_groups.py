"""Which parameters are trained, in groups: how fast, and with how much weight decay."""

from __future__ import annotations

import difflib
import logging
import re
from typing import Any

from ..common.errors import UserError
from ..modeling_ocrnet import OCRNetForSemanticSegmentation
from .backbone_parts import block_depths, is_hrnet
from .recipe import OptimizerRecipe

logger = logging.getLogger("modeling_ocrnet.training")

# tokens and position embeddings, as transformers and timm call them
_EMBEDDINGS = re.compile(
    r"(cls|class|dist|distillation|mask|reg|register|storage)_tokens?$|pos(ition|itional)?_emb|rel(ative)?_pos"
)

# what peft puts into the names of an adapted layer's parameters, and of a module's that is trained whole
_OF_ADAPTERS = re.compile(r"\.(base_layer|original_module|(lora_[AB]|modules_to_save)\.\w+)(?=\.)")


def parameter_groups(model: OCRNetForSemanticSegmentation, options: OptimizerRecipe) -> list[dict[str, Any]]:
    """The optimizer's groups: the backbone's parameters in the model's order, then the heads'.

    A group holds the parameters that have the same `base_lr`, whose schedule falls to `schedule.min_lr`, `lr_scale`,
    which multiplies that schedule as a whole, and `weight_decay`. Parameters without gradients are in none. With the
    default options there are two groups, backbone and heads.

    Args:
        model: whose frozen parameters require no gradients.
        options: of the recipe.

    Raises:
        UserError: for a multiplier that is for no parameter, or a decay by layers that the backbone doesn't have.
    """
    multipliers = {name.rstrip("."): factor for name, factor in options.lr_multipliers.items()}
    named = list(model.named_parameters())
    _check_multipliers(multipliers, [_plain(name) for name, _ in named])
    by_layer = {} if options.layer_decay is None else layer_factors(model, options.layer_decay)
    groups: dict[tuple, dict[str, Any]] = {}
    for name, parameter in sorted(named, key=lambda x: not x[0].startswith("backbone.")):  # stable
        if not parameter.requires_grad:
            continue
        of_heads = not name.startswith("backbone.")
        fields = {
            "base_lr": options.lr * (options.head_lr_multiplier if of_heads else 1.0),
            "lr_scale": by_layer.get(name, 1.0) * _multiplier(_plain(name), multipliers),
            "weight_decay": options.weight_decay,
        }
        if not options.decay_norms_and_biases and (parameter.ndim <= 1 or _EMBEDDINGS.search(name)):
            fields["weight_decay"] = 0.0
        group = groups.setdefault((of_heads, *fields.values()), {"params": [], **fields})
        group["params"].append(parameter)
    scales = {x["lr_scale"] for x in groups.values()}
    if scales != {1.0}:
        logger.info(
            "learning rates are multiplied by %.3g to %.3g, in %d groups", min(scales), max(scales), len(groups)
        )
    return list(groups.values())


def layer_factors(model: OCRNetForSemanticSegmentation, decay: float) -> dict[str, float]:
    """Factors of the learning rate by depth, as BEiT has them, by the names of the backbone's parameters.

    The last block's is `decay`, that of the one before its square, and so on; what comes before the first block has the
    next power, and what comes after the last one 1.

    Raises:
        UserError: if the backbone's blocks aren't in a row.
    """
    backbone: Any = model.backbone
    depths, count = block_depths(backbone)
    if is_hrnet(backbone) or not count:
        why = "HRNet's branches run side by side" if is_hrnet(backbone) else "this backbone has no repeated blocks"
        raise UserError(
            f"optimizer.layer_decay needs blocks one after another, but {why}: leave it out, or give "
            "optimizer.lr_multipliers"
        )
    return {f"backbone.{name}": decay ** (count + 1 - depth) for name, depth in depths.items()}


def _plain(name: str) -> str:
    """A parameter's name as it is, or would be, without adapters."""
    return _OF_ADAPTERS.sub("", name)


def _begins(name: str, beginning: str) -> bool:
    """Whether a parameter's name begins so; only whole parts between dots count, so that block 1 isn't block 10."""
    return name == beginning or name.startswith(f"{beginning}.")


def _multiplier(name: str, multipliers: dict[str, float]) -> float:
    """The factor of the longest beginning of a parameter's name."""
    found = [x for x in multipliers if _begins(name, x)]
    return multipliers[max(found, key=len)] if found else 1.0


def _check_multipliers(multipliers: dict[str, float], names: list[str]) -> None:
    for beginning in multipliers:
        if any(_begins(name, beginning) for name in names):
            continue
        parts = [name.split(".") for name in names]
        known = list(dict.fromkeys(".".join(x[:i]) for x in parts for i in range(1, len(x) + 1)))
        near = difflib.get_close_matches(beginning, known, n=3, cutoff=0.6)
        meant = f"did you mean {' or '.join(near)}? " if near else ""
        raise UserError(
            f"optimizer.lr_multipliers has {beginning!r}, but no parameter's name begins with it: {meant}"
            f"There are {', '.join(dict.fromkeys(x[0] for x in parts))}, and the names of their parts after a dot"
        )
