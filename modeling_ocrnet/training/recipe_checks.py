"""What values of a recipe can be meant: its numbers, and the fields that go to the network's configs as they are."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

from transformers.utils import logging

from ..common.errors import UserError
from ..configuration_ocrnet import OLD_NORMALIZER, OCRNetConfig

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
    "optimizer.lr",
    "optimizer.head_lr_multiplier",
    "optimizer.clip_norm",
    "schedule.max_steps",
    "evaluation.every",
    "evaluation.limit",
    "checkpoint.every",
    "checkpoint.keep_last",
    "logging.every",
}
_MOST = {
    "data.cat_max_ratio": 1,
    "data.flip_probability": 1,
    "schedule.warmup_ratio": 1,
    "process_timeout": 10**8,  # about three years: a limit of what timers take
    "seed": 2**32 - 1,  # numpy's
}


_BELOW = {"optimizer.momentum": 1}  # at 1 what was learnt once would never be forgotten


def check_numbers(values: dict[str, Any]) -> None:
    """Refuse numbers that can't be meant.

    Args:
        values: of a recipe's fields, by their full names; lists are checked number by number.

    Raises:
        UserError: naming the field.
    """
    for name, value in values.items():
        for x in value if isinstance(value, list) else [value]:
            expected = _expected(name, x) if isinstance(x, (int, float)) else None
            if expected:
                raise UserError(f"{name} must be {expected}, got {value}")


def _expected(name: str, x: float) -> str | None:
    """What a field's number should be; `None` if it is."""
    if not math.isfinite(x):
        return "a finite number"
    if name.startswith(("model.config.", "model.backbone_config.")):  # the configs know what theirs may be
        return None
    if name in _POSITIVE and x <= 0:
        return "positive"
    if x < 0:
        return "0 or more"
    if x > _MOST.get(name, x):
        return f"at most {_MOST[name]}"
    return f"below {_BELOW[name]}" if x >= _BELOW.get(name, math.inf) else None


_OF_DATA = "follows from the dataset's classes (of own data: classes.json)"
# fields of OCRNetConfig that model.config can't give
_SET_ELSEWHERE = {
    **dict.fromkeys(("id2label", "label2id", "num_labels", "palette", "label_ids", "flip_pairs"), _OF_DATA),
    "backbone_config": "model.variant and model.backbone_config say",
}


def renamed_fields(given: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """`model.config` with fields that were renamed under today's names; of each a warning is given once.

    Args:
        given: names and values.
        prefix: what all names begin with.
    """
    old, new = prefix + OLD_NORMALIZER, prefix + "loss_normalizer"
    if old not in given:
        return given
    logger.warning_once("model.config.%s is called loss_normalizer now", OLD_NORMALIZER)
    if given.get(new, given[old]) != given[old]:
        raise UserError(
            f"model.config has loss_normalizer {given[new]}, and its old name {OLD_NORMALIZER} {given[old]}"
        )
    return {new if key == old else key: value for key, value in given.items()}


def check_fields(where: str, given: dict[str, Any], config: type) -> None:
    """Refuse what a config doesn't know (it takes any keyword: a misspelt one would do nothing) or may not be told.

    Args:
        where: the recipe's group, for messages.
        given: its fields.
        config: the class of the config that they are for.

    Raises:
        UserError: naming the field.
    """
    for key in sorted(given.keys() & _SET_ELSEWHERE.keys()) if config is OCRNetConfig else ():
        raise UserError(f"{where} has {key}, which {_SET_ELSEWHERE[key]}: take it out")
    if (channels := given.get("num_channels", 3)) != 3:
        raise UserError(f"{where}.num_channels is {channels}, but images are read as three channels: take it out")
    known = {field.name for field in fields(config)}
    if unknown := sorted(set(given) - known):
        raise UserError(f"{where} has {', '.join(unknown)}, which {config.__name__} doesn't know; see its docstring")
