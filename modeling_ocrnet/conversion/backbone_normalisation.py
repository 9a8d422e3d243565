"""How images are normalised for the weights of a named backbone."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from ..common.errors import FileError, UserError
from ..data.normalization import FIELDS
from .backbone_weights import is_file
from .hub_files import folder_file
from .named_backbone import find_backbone, import_timm

logger = logging.getLogger(__name__)

PROCESSOR = "preprocessor_config.json"


def normalisation(variant: str, source: str | None) -> dict[str, Any]:
    """The fields of an image processor that fit a backbone's weights.

    They are those of the weights' own image processor, or of timm's network. If neither is known, or the weights are
    random, images are normalised as for ImageNet, and a line says so.

    Args:
        variant: the backbone's name, as [`find_backbone`] takes it.
        source: of its weights, as [`load_backbone`] takes it; `None` for random ones.

    Returns:
        Some of `data.normalization.FIELDS`; empty for the default.

    Raises:
        UserError: if the weights' image processor can't be read, or isn't for three channels.
    """
    fields: dict[str, Any] = {}
    if source is None:
        reason = "its weights are random"
    else:
        reason = "its weights say nothing of it"
        for place in dict.fromkeys((source, variant)):
            if fields := _of(place):
                break
    if not fields:
        logger.info("%s: images are normalised by ImageNet's mean and deviation, because %s", variant, reason)
    return fields


def _of(name: str) -> dict[str, Any]:
    """The fields that a repository, a folder, a file's folder or a network of timm's records."""
    if is_file(name):
        name = str(Path(name).expanduser().parent)
    elif not Path(name).expanduser().is_dir():
        found = find_backbone(name)
        if found.is_timm and found.source == found.config.backbone:
            return _of_timm(found.config.backbone)
    processor = _read(name, PROCESSOR)
    if processor:
        fields = {key: processor[key] for key in FIELDS if processor.get(key) is not None}
    else:
        described = _read(name, "config.json").get("pretrained_cfg") or {}  # as timm writes it
        fields = {f"image_{key}": list(described[key]) for key in ("mean", "std") if key in described}
    for key in ("image_mean", "image_std"):
        if key in fields and (not isinstance(fields[key], list) or len(fields[key]) != 3):
            raise UserError(f"{name}/{PROCESSOR}: {key} is {fields[key]}, expected three numbers")
    return fields


def _of_timm(network: str) -> dict[str, Any]:
    timm: Any = import_timm(f"model.variant {network}")
    described = timm.get_pretrained_cfg(network)
    return {} if described is None else {"image_mean": list(described.mean), "image_std": list(described.std)}


def _read(folder: str, name: str) -> dict[str, Any]:
    try:
        file = folder_file(folder, name)
    except FileError as error:  # the weights may be in the cache without it
        logger.warning("%s isn't read: %s", name, error)
        return {}
    if file is None:
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}/{name}: can't be read ({error}): save or download it again") from error
    return content if isinstance(content, dict) else {}
