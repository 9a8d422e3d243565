"""Reads a trained OCRNet to start from: a folder of ours, a repository of the Hub, or another project's file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.utils import logging

from ..common.errors import MissingFileError, UserError
from ..configuration_ocrnet import OCRNetConfig
from ..data.normalization import FIELDS, Normalization
from ..image_processing_ocrnet import OCRNetImageProcessor
from ..modeling_ocrnet import OCRNetForSemanticSegmentation
from .convert import build
from .loading import read_checkpoint
from .pretrained import check_folder, explained
from .weights import check_weights

logger = logging.get_logger(__name__)

_FILES = (".pth", ".pt", ".bin", ".safetensors", ".ckpt", ".pdparams")


@dataclass(frozen=True)
class StartingModel:
    """A trained OCRNet.

    Args:
        source: where it came from, as it was given.
        config: its architecture, classes and loss.
        state: its weights under our names, float32, on the CPU.
        normalization: the image processor's values of `data.normalization.FIELDS`.
    """

    source: str
    config: OCRNetConfig
    state: dict[str, Tensor]
    normalization: dict[str, Any]


def read_starting_model(source: str) -> StartingModel:
    """Read the model that a run starts from.

    Args:
        source: a folder that `save_pretrained` wrote, a repository of the Hub, or a file as `ocrnet convert` reads it.

    Raises:
        MissingFileError: if there is no such file or folder.
        UserError: if it isn't an OCRNet, is damaged, or is meant for another option; the message says which.
    """
    if not source.strip():
        raise UserError("model.init_from is empty: give a folder, a Hub repository or a file, or leave it out")
    path = Path(source).expanduser()
    if path.is_file():
        return _of_file(source, path)
    if path.is_dir():
        _check_kind(source, path)
        source_path = str(path)
    elif path.suffix in _FILES or source.startswith(("/", ".", "~")):
        raise MissingFileError(f"model.init_from {source}: no such file or folder")
    elif source in ("last", "auto"):
        raise UserError(
            f"model.init_from is {source!r}, which is a value of --resume: that goes on with a run, init_from starts "
            "one from a model's weights"
        )
    else:
        source_path = source
    return _of_folder(source, source_path)


def _of_file(source: str, path: Path) -> StartingModel:
    if path.suffix == ".safetensors" and (path.parent / "config.json").is_file():
        raise UserError(f"model.init_from {source}: is one file of a model's folder: give the folder, {path.parent}")
    model, processor, report = build(read_checkpoint(path))
    if not isinstance(model, OCRNetForSemanticSegmentation):
        raise _is_backbone(source)
    logger.info("%s: %s, %s", source, report.description, report.origin)
    return _starting_model(source, model, OCRNetImageProcessor(**processor))


def _of_folder(source: str, name: str) -> StartingModel:
    with explained(source):
        fields, _ = PreTrainedConfig.get_config_dict(name)
    kind = fields.get("model_type")
    if kind != OCRNetConfig.model_type:
        if kind in (None, "hrnet", "timm_backbone") and ("architecture" in fields or kind is not None):
            raise _is_backbone(source)
        raise UserError(f"model.init_from {source}: its model_type is {kind!r}, expected an OCRNet")
    if fields.get("custom_backbone") is not None:
        raise UserError(
            f"model.init_from {source}: was built with a backbone of your own ({fields['custom_backbone']}), which a "
            "recipe can't build: train it in a program (docs/own_backbone.md)"
        )
    with explained(source):
        model, info = OCRNetForSemanticSegmentation.from_pretrained(name, dtype=torch.float32, output_loading_info=True)
    if missing := sorted(info["missing_keys"]):  # transformers initialised them at random
        raise UserError(f"{source}: {len(missing)} weights are missing, e.g. {missing[0]}: save or download it again")
    if strange := sorted(info["unexpected_keys"]):
        raise UserError(f"{source}: config.json has no place for {len(strange)} weights, e.g. {strange[0]}")
    try:
        processor = OCRNetImageProcessor.from_pretrained(name)
    except OSError:
        logger.warning("%s: holds no image processor: images are normalised with ImageNet's mean, as RGB", source)
        processor = OCRNetImageProcessor()
    return _starting_model(source, model, processor)


def _starting_model(source: str, model: PreTrainedModel, processor: OCRNetImageProcessor) -> StartingModel:
    state = {key: x.float() if x.is_floating_point() else x for key, x in model.state_dict().items()}
    check_weights(state.items(), source)
    normalization = {name: getattr(processor, name) for name in FIELDS}
    try:
        Normalization.of(normalization)
    except ValueError as error:
        raise UserError(f"model.init_from {source}: its image processor's {error}") from error
    return StartingModel(source, model.config, state, normalization)


def _check_kind(source: str, folder: Path) -> None:
    """Refuse a folder that is meant for another option.

    Raises:
        UserError: it says what the folder is, and what to do.
    """
    if (folder / "state.json").is_file():
        model = folder.parent.parent / "model"
        of_it = f", {model}" if model.is_dir() else ", <run>/model or <run>/best"
        raise UserError(
            f"model.init_from {source}: is a checkpoint of a run. To go on with that run, give --resume {source}; to "
            f"start another from its weights, give the model that it left{of_it}"
        )
    check_folder(str(folder))


def _is_backbone(source: str) -> UserError:
    return UserError(
        f"model.init_from {source}: is a backbone without segmentation heads: give it as --model.backbone {source}"
    )
