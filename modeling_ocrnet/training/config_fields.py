"""Fields of a recipe that go to the network's configs as they are."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from transformers.utils import logging

from ..configuration_ocrnet import OLD_NORMALIZER, OCRNetConfig

logger = logging.get_logger(__name__)

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
    return {new if key == old else key: value for key, value in given.items()}


def check_fields(where: str, given: dict[str, Any], config: type) -> None:
    """Refuse what a config doesn't know (it takes any keyword: a misspelt one would do nothing) or may not be told.

    Args:
        where: the recipe's group, for messages.
        given: its fields.
        config: the class of the config that they are for.

    Raises:
        ValueError: naming the field.
    """
    for key in sorted(given.keys() & _SET_ELSEWHERE.keys()) if config is OCRNetConfig else ():
        raise ValueError(f"{where} has {key}, which {_SET_ELSEWHERE[key]}: take it out")
    if (channels := given.get("num_channels", 3)) != 3:
        raise ValueError(f"{where}.num_channels is {channels}, but images are read as three channels: take it out")
    known = {field.name for field in fields(config)}
    if unknown := sorted(set(given) - known):
        raise ValueError(f"{where} has {', '.join(unknown)}, which {config.__name__} doesn't know; see its docstring")
