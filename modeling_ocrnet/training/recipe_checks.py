"""Check a recipe's values: its numbers, and the fields that are passed to the network's configs."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

from transformers.utils import logging

from ..common.errors import UserError
from ..configuration_ocrnet import OLD_NORMALIZER, OCRNetConfig
from ..loss_fields_ocrnet import check_weights, fold_old_weights, unused_parameter

logger = logging.get_logger(__name__)

_POSITIVE = {
    "global_batch",
    "micro_batch",
    "process_timeout",
    "data.crop_size",
    "data.scale",
    "data.ratio_range",
    "data.cat_max_ratio",
    "data.shuffle_buffer",
    "sampler.class_share",
    "sampler.tile",
    "sampler.max_repeats",
    "sampler.threshold",
    "optimizer.lr",
    "optimizer.head_lr_multiplier",
    "optimizer.layer_decay",
    "optimizer.clip_norm",
    "lora.rank",
    "lora.alpha",
    "schedule.max_steps",
    "evaluation.every",
    "evaluation.limit",
    "checkpoint.every",
    "checkpoint.keep_last",
    "logging.every",
}
_MOST = {
    "optimizer.layer_decay": 1,
    "data.cat_max_ratio": 1,
    "data.flip_probability": 1,
    "sampler.class_share": 1,
    "sampler.threshold": 1,
    "schedule.warmup_ratio": 1,
    "process_timeout": 10**8,  # about three years; timers take no longer ones
    "seed": 2**32 - 1,  # numpy's limit
}


_BELOW = {
    "optimizer.momentum": 1,  # with 1, gradients would never decay
    "lora.dropout": 1,
}


def check_numbers(values: dict[str, Any]) -> None:
    """Check that a recipe's numbers are in their ranges.

    Args:
        values: the values of fields, by their full names; each number of a list is checked.

    Raises:
        UserError: if a number isn't; the message names the field.
    """
    for name, value in values.items():
        for x in value if isinstance(value, list) else [value]:
            expected = _expected(name, x) if isinstance(x, (int, float)) else None
            if expected:
                raise UserError(f"{name} must be {expected}, got {value}")


def _expected(name: str, x: float) -> str | None:
    """What a field's number should be, or `None` if it is valid."""
    if not math.isfinite(x):
        return "a finite number"
    if name.startswith(("model.config.", "model.backbone_config.")):  # the configs check their own fields
        return None
    if name.startswith("optimizer.lr_multipliers.") and x <= 0:
        return "positive (model.freeze leaves a part as it is)"
    if name in _POSITIVE and x <= 0:
        return "positive"
    if x < 0:
        return "0 or more"
    if x > _MOST.get(name, x):
        return f"at most {_MOST[name]}"
    return f"below {_BELOW[name]}" if x >= _BELOW.get(name, math.inf) else None


_OF_DATA = "the dataset's classes determine (for your own data: classes.json)"
# fields of OCRNetConfig that can't be set in model.config
_SET_ELSEWHERE = {
    **dict.fromkeys(("id2label", "label2id", "num_labels", "palette", "label_ids", "flip_pairs"), _OF_DATA),
    "backbone_config": "model.variant and model.backbone_config determine",
    "custom_backbone": "is for programs (docs/own_backbone.md)",
    "modeling_ocrnet_version": "is written with a model",
}


def renamed_fields(given: dict[str, Any]) -> dict[str, Any]:
    """`model.config` with renamed fields under their new names, and one warning if the loss's normalizer is one.

    Raises:
        UserError: if an old and a new name have different values.
    """
    if OLD_NORMALIZER in given:
        logger.warning_once("model.config.%s is now called loss_normalizer", OLD_NORMALIZER)
        if given.get("loss_normalizer", given[OLD_NORMALIZER]) != given[OLD_NORMALIZER]:
            raise UserError(
                f"model.config has loss_normalizer {given['loss_normalizer']}, but its old name {OLD_NORMALIZER} "
                f"{given[OLD_NORMALIZER]}"
            )
        given = {"loss_normalizer" if key == OLD_NORMALIZER else key: value for key, value in given.items()}
    try:
        return fold_old_weights(given)
    except ValueError as error:
        raise UserError(f"model.config.{error}") from error


def check_losses(given: dict[str, Any]) -> None:
    """Check that the losses of `model.config` are some, and that no field is given that none of them reads.

    Raises:
        UserError: if not; the message names the field.
    """
    try:
        for name in ("losses", "auxiliary_losses"):
            if given.get(name) is not None:
                check_weights(f"model.config.{name}", given[name])
    except ValueError as error:
        raise UserError(str(error)) from error
    if problem := unused_parameter(given):
        raise UserError(f"model.config.{problem}")
    if given.get("auxiliary_losses") and given.get("auxiliary_loss_weight") == 0:
        raise UserError(
            "model.config.auxiliary_losses is given, but auxiliary_loss_weight is 0, so nothing would be learned from "
            "it: leave one out"
        )


def check_fields(where: str, given: dict[str, Any], config: type) -> None:
    """Check that fields exist in a config, and may be set in the recipe. The config itself ignores unknown keywords.

    Args:
        where: the recipe's group, for messages.
        given: its fields.
        config: the config's class.

    Raises:
        UserError: if not; the message names the field.
    """
    for key in sorted(given.keys() & _SET_ELSEWHERE.keys()) if config is OCRNetConfig else ():
        raise UserError(f"{where} has {key}, which {_SET_ELSEWHERE[key]}: take it out")
    if (channels := given.get("num_channels", 3)) != 3:
        raise UserError(f"{where}.num_channels is {channels}, but images are read as three channels: take it out")
    known = {field.name for field in fields(config)}
    if unknown := sorted(set(given) - known):
        raise UserError(f"{where} has {', '.join(unknown)}, which {config.__name__} doesn't have; see its docstring")
