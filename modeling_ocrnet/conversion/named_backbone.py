"""Finds a backbone of transformers or timm by its name: a Hub repository, a folder, a timm network or a model type."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from transformers import CONFIG_MAPPING, MODEL_FOR_BACKBONE_MAPPING, PreTrainedConfig, TimmBackboneConfig

from ..common.errors import MissingPackageError, UserError
from ..configuration_hrnet import VARIANTS, HRNetConfig
from ..configuration_ocrnet import OCRNetConfig
from .hub_files import folder_file, is_repository
from .imagenet import IMAGENET_WEIGHTS

PUBLISHED = (*VARIANTS, "r101-d8")  # the variants that aren't named by their weights
# fields that say nothing about the layers of a backbone
_OF_CLASSIFIERS = ("architectures", "id2label", "label2id", "dtype", "torch_dtype", "_name_or_path")


@dataclass(frozen=True)
class NamedBackbone:
    """A backbone as its name describes it.

    Args:
        name: as it was given.
        config: its config, with the maps that the config itself asks for.
        source: the repository, folder or timm network that holds its weights; `None` for a bare model type.
    """

    name: str
    config: PreTrainedConfig
    source: str | None

    @property
    def is_timm(self) -> bool:
        """Whether timm builds it."""
        return isinstance(self.config, TimmBackboneConfig)


def find_backbone(name: str) -> NamedBackbone:
    """Find a backbone by its name. Of a repository, only its config.json is downloaded; timm's names need no network.

    Args:
        name: `owner/name` on the Hub, a local folder, a timm network (with or without `timm/` and a tag), or a model
            type of transformers, such as `swin`.

    Raises:
        UserError: if there is no such backbone; the message names similar ones, or says what to give instead.
    """
    network = name.removeprefix("timm/")
    if network.startswith("hrnet_w"):
        raise UserError(_advice_for_hrnet(name))
    if Path(name).expanduser().is_dir():
        return _of_folder(name)
    if name in _model_types():
        return NamedBackbone(name, _as_from_json(CONFIG_MAPPING[name]()), None)
    if network == name and is_repository(name):
        return _of_folder(name)
    timm = import_timm(f"model.variant {name}", required=network != name)
    if timm is not None and timm.is_model(network):
        if "." in network and not timm.is_model_pretrained(network):
            raise UserError(f"{name}: timm has no such weights{_nearest(network, timm.list_pretrained)}")
        return NamedBackbone(name, TimmBackboneConfig(backbone=network), network)
    known = [*PUBLISHED, *_model_types(), *(timm.list_models() if timm else ())]
    remedy = "" if timm else "; if it is one of timm's, pip install 'modeling-ocrnet[timm]'"
    raise UserError(
        f"model.variant {name!r} is unknown{_nearest(network, lambda: known)}; give {', '.join(PUBLISHED)}, or the "
        f"name of a backbone of transformers (owner/name on the Hub, or a folder with a config.json) or timm{remedy}"
    )


def import_timm(what: str, required: bool = True) -> ModuleType | None:
    """The package timm; `None` if it isn't installed and isn't required.

    Raises:
        MissingPackageError: if it is required, and not installed.
    """
    try:
        import timm
    except ImportError as error:
        if not required:
            return None
        raise MissingPackageError(f"{what} needs timm: pip install 'modeling-ocrnet[timm]'") from error
    return timm


def described_by(name: str) -> dict[str, Any]:
    """The config.json of a folder or of a repository on the Hub.

    Raises:
        UserError: if there is none, it isn't valid, or it is an OCRNet's.
    """
    file = folder_file(name, "config.json")
    if file is None:
        raise UserError(f"{name}: holds no config.json; give a folder or repository that save_pretrained wrote")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{name}: its config.json can't be read ({error}): save or download it again") from error
    if not isinstance(content, dict):
        raise UserError(f"{name}: its config.json holds a {type(content).__name__}, expected fields")
    if content.get("model_type") == OCRNetConfig.model_type:
        raise UserError(f"{name} is a whole OCRNet: to start from a trained OCRNet give --model.init_from {name}")
    return content


def _of_folder(name: str) -> NamedBackbone:
    content = described_by(name)
    if "model_type" not in content and "architecture" in content:  # as timm's save_for_hf and push_to_hf_hub write it
        import_timm(f"model.variant {name}")
        return NamedBackbone(name, TimmBackboneConfig(backbone=content["architecture"]), name)
    model_type = content.get("model_type")
    if model_type not in _model_types():
        raise UserError(
            f"{name}: transformers has no backbone of its model type {model_type!r} (it has "
            f"{', '.join(_model_types())}); timm has more: --model.variant timm/NAME"
        )
    fields = {key: value for key, value in content.items() if key not in _OF_CLASSIFIERS}
    return NamedBackbone(name, CONFIG_MAPPING[model_type].from_dict(fields), name)


def with_fields(config: PreTrainedConfig, fields: dict[str, Any]) -> PreTrainedConfig:
    """A copy of a backbone's config with some fields changed. Its maps are those that the fields name, as `out_indices`
    or `out_features`, or the last one."""
    # the number of stages may change
    old = {key: x for key, x in config.to_dict().items() if key not in ("out_indices", "out_features", "stage_names")}
    return _as_from_json(type(config).from_dict({**old, **fields}))


def _as_from_json(config: PreTrainedConfig) -> PreTrainedConfig:
    """The same with lists in place of tuples: some backbones take nothing else, though their defaults are tuples."""
    return type(config).from_dict(json.loads(json.dumps(config.to_dict())))


def _model_types() -> list[str]:
    """The model types of transformers that have a backbone which can be built by its config alone."""
    kinds = {kind.model_type for kind in MODEL_FOR_BACKBONE_MAPPING}
    return sorted(kinds - {TimmBackboneConfig.model_type, HRNetConfig.model_type})


def _nearest(name: str, names: Callable[[], list[str]]) -> str:
    found = difflib.get_close_matches(name, names(), n=3)
    return f" (did you mean {' or '.join(found)}?)" if found else ""


def _advice_for_hrnet(name: str) -> str:
    """What to give for timm's HRNets, whose weights load into ours."""
    network = name.removeprefix("timm/").partition(".")[0]
    ours = [variant for variant, weights in IMAGENET_WEIGHTS.items() if f"/{network}." in weights]
    if not ours:
        return f"{name}: this HRNet isn't one of OCRNet's; give --model.variant {', '.join(VARIANTS)}"
    weights = f"timm/{name.removeprefix('timm/')}" if "." in name else IMAGENET_WEIGHTS[ours[0]]
    return f"{name} is {ours[0]} here: give --model.variant {ours[0]} --model.backbone {weights}"
