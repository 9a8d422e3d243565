"""The feature maps of a named backbone, measured: which of them OCRNet's heads read, and whether it needs a pyramid."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import nn
from transformers import CONFIG_MAPPING, AutoBackbone, PreTrainedConfig

from ..common.errors import UserError
from ..configuration_ocrnet import OCRNetConfig
from ..modeling_ocrnet import OCRNetForSemanticSegmentation
from .named_backbone import NamedBackbone, import_timm, with_fields

logger = logging.getLogger(__name__)

READ = (4, 8, 16, 32)  # strides of the maps that the heads read, as they read HRNet's
MEASURED = 224  # height and width of the empty image
ODD_SIZE = (65, 101)
AUXILIARY_CHANNELS = 256
_REFUSALS = (
    RuntimeError,
    ValueError,
    AssertionError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    ImportError,
)


def fields_over(found: NamedBackbone, backbone_fields: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The fields of OCRNetConfig that put the heads over a backbone.

    A hierarchical backbone's maps of strides 4, 8, 16 and 32 are read by both heads. If all maps have one stride, the
    last one gets a pyramid.

    Args:
        found: the backbone.
        backbone_fields: further fields of its config; `out_indices` or `out_features` choose its maps.
        given: further fields of OCRNetConfig. They win.

    Raises:
        UserError: if the backbone can't be built, takes images of some sizes only, or has no such maps.
    """
    where = f"model.variant {found.name}"
    try:
        config = with_fields(found.config, backbone_fields)
    except ValueError as error:  # indices or names of maps that it hasn't
        raise UserError(f"{where}: model.backbone_config: {_first_line(error)}") from error
    candidates, strides = _strides(where, found, config)
    plain = len(set(strides)) == 1
    indices = [candidates[-1]] if plain else [i for i, x in zip(candidates, strides, strict=True) if x in READ]
    if backbone_fields.keys().isdisjoint(("out_indices", "out_features")):
        if not indices:
            raise UserError(f"{where}: its maps have the strides {strides}, expected some of {list(READ)}")
        config = with_fields(config, {"out_indices": indices})
    else:
        indices = config.out_indices
    fields = {"pyramid_stride": strides[-1] if plain else None, "auxiliary_channels": AUXILIARY_CHANNELS, **given}
    maps = len(indices) if fields["pyramid_stride"] is None else len(READ)
    read: dict[str, Any] = {name: list(range(maps)) for name in ("ocr_in_indices", "auxiliary_in_indices")}
    by_index: dict[Any, int] = dict(zip(candidates, strides, strict=True))
    last = by_index.get(next(reversed(config.out_indices), None))
    if last is not None and fields["pyramid_stride"] not in (None, last):
        raise UserError(
            f"model.config.pyramid_stride is {fields['pyramid_stride']}, but the last map of {where} has the stride "
            f"{last}: leave it out{'' if plain else ', or give null'}"
        )
    network = {"backbone_config": config, "pyramid_stride": fields["pyramid_stride"], **read}
    _check_any_size(where, network)
    if chosen := {name: given[name] for name in read if name in given}:
        _check_maps(where, {**network, **chosen}, chosen)
    return {**read, **fields, "backbone_config": config}


def _strides(where: str, found: NamedBackbone, config: PreTrainedConfig) -> tuple[list[int], list[int]]:
    """The indices of a backbone's stages without its stem, and the stride of each one's map.

    Raises:
        UserError: if the backbone can't be built or run.
    """
    key = json.dumps(config.to_dict(), sort_keys=True, default=str)
    try:
        if found.is_timm:
            import_timm(where)
            strides = _timm_strides(key, config.backbone, config.output_stride)
            return list(range(len(strides))), list(strides)
        candidates = [i for i, name in enumerate(config.stage_names) if name != "stem"]
        sizes = _measured(key, tuple(candidates))
    except UserError:
        raise
    except _REFUSALS as error:
        raise UserError(f"{where} can't be a backbone here: {_first_line(error)}") from error
    uneven = [size for size in sizes if size[0] != size[1]]
    if uneven:
        raise UserError(f"{where}: a square image gives a map of {uneven[0]}, so it has no single stride")
    return candidates, [round(MEASURED / height) for height, _ in sizes]


@cache
def _timm_strides(_key: str, name: str, output_stride: int | None) -> tuple[int, ...]:
    """What timm says of its network's maps."""
    import timm

    with torch.device("meta"):
        network = timm.create_model(name, features_only=True, output_stride=output_stride)
    return tuple(x["reduction"] for x in network.feature_info.info)


@cache
def _measured(key: str, indices: tuple[int, ...]) -> list[tuple[int, int]]:
    """Height and width of each map of an empty image."""
    fields = json.loads(key)
    config = with_fields(CONFIG_MAPPING[fields["model_type"]].from_dict(fields), {"out_indices": list(indices)})

    def build() -> nn.Module:
        return AutoBackbone.from_config(copy.deepcopy(config))

    return [(x.shape[-2], x.shape[-1]) for x in _run_empty(build, (MEASURED, MEASURED)).feature_maps]


def _check_maps(where: str, fields: dict[str, Any], chosen: dict[str, Any]) -> None:
    """Check that the heads can read the maps that the recipe chooses."""
    try:
        _run_ocrnet(fields)
    except _REFUSALS as error:
        names = " and ".join(f"model.config.{name} {value}" for name, value in chosen.items())
        raise UserError(
            f"{where} can't be read with {names} ({_first_line(error)}): the first map of each list must be of one "
            "size; leave them out for all maps"
        ) from error


def _check_any_size(where: str, fields: dict[str, Any]) -> None:
    """Check that an OCRNet over the backbone takes images of an odd size."""
    try:
        _run_ocrnet(fields)
    except _REFUSALS as error:
        height, width = ODD_SIZE
        raise UserError(
            f"{where} can't segment images of any size, such as {height}x{width} ({_first_line(error)}): choose "
            "another; transformers' own Swin and BEiT take any size, timm's don't: "
            "--model.variant microsoft/swin-tiny-patch4-window7-224"
        ) from error


def _run_ocrnet(fields: dict[str, Any]) -> None:
    """Run a small OCRNet over the backbone on an empty image of an odd size."""
    small = {"ocr_channels": 8, "key_channels": 8, "auxiliary_channels": 8, "pyramid_channels": 8}

    def build() -> nn.Module:
        return OCRNetForSemanticSegmentation(OCRNetConfig(**copy.deepcopy(fields), **small))

    _run_empty(build, ODD_SIZE)


def _run_empty(build: Callable[[], nn.Module], size: tuple[int, int]) -> Any:
    """The output of a model for an empty image: its shapes alone, or on the CPU for models that can't do without
    numbers."""
    try:
        return _run(build, size, "meta")
    except _REFUSALS as error:
        logger.debug("not measured without numbers: %s", error)
        return _run(build, size, "cpu")


def _run(build: Callable[[], nn.Module], size: tuple[int, int], device: str) -> Any:
    with torch.device(device):
        model = build().eval()
    # outside of the context: BEiT keeps tensors of positions for every model of the process, and would make them there
    with torch.no_grad():
        return model(torch.zeros(1, 3, *size, device=device))


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
