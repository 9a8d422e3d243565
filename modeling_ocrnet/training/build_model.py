"""From a recipe to its network and its image processor."""

from __future__ import annotations

import logging
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import TimmBackboneConfig

from .. import data
from ..common.errors import UserError
from ..configuration_hrnet import VARIANTS, HRNetConfig
from ..configuration_ocrnet import OCRNetConfig
from ..conversion.backbone_maps import fields_over
from ..conversion.backbone_normalisation import normalisation
from ..conversion.backbone_weights import load_backbone
from ..conversion.imagenet_hrnet import load_imagenet_backbone
from ..conversion.named_backbone import PUBLISHED, NamedBackbone, find_backbone
from ..conversion.starting_model import StartingModel, read_starting_model
from ..data.normalization import FIELDS
from ..gradient_checkpointing import enable_gradient_checkpointing
from ..image_processing_ocrnet import OCRNetImageProcessor
from ..modeling_ocrnet import OCRNetForSemanticSegmentation
from .recipe import Recipe
from .recipe_checks import check_fields
from .recipe_model import VARIANT
from .start import carry_over, config_fields, continued_classes, table_of_classes
from .unused_parameters import freeze_unused_parameters

logger = logging.getLogger("modeling_ocrnet.training")


def read_start(recipe: Recipe) -> StartingModel | None:
    """The trained model that the recipe starts from, if it names one.

    Raises:
        UserError: if it can't be read, or isn't an OCRNet.
    """
    return None if recipe.model.init_from is None else read_starting_model(recipe.model.init_from)


def read_variant(recipe: Recipe) -> NamedBackbone | None:
    """The backbone that the recipe names, if it isn't one of OCRNet's own variants; its description is downloaded.

    Raises:
        UserError: if there is no such backbone, or it is to have weights but has none.
    """
    variant = _variant(recipe)
    if recipe.model.init_from is not None or variant in PUBLISHED:
        return None
    found = find_backbone(variant)
    if found.source is None and recipe.model.backbone == variant:
        raise UserError(
            f"model.variant {variant} is an architecture without weights: give --model.backbone null to train from "
            "scratch, or a repository with weights as --model.variant"
        )
    return found


def _variant(recipe: Recipe) -> str:
    return recipe.model.resolved().variant or VARIANT


def build_model(
    recipe: Recipe, labels: data.LabelSet, start: StartingModel | None = None
) -> OCRNetForSemanticSegmentation:
    """The recipe's network on the CPU, with the weights that the recipe starts from, if it names some.

    Args:
        recipe: the recipe.
        labels: the data's classes.
        start: what [`read_start`] returned; read here if the recipe names a model and this isn't given.

    Raises:
        UserError: for fields that the configs don't have, or values that they refuse.
    """
    start = start or read_start(recipe)
    model = new_model(recipe, build_config(recipe, labels, start))
    if start is not None:
        continued = continued_classes(labels, start, recipe.model.init_classes)
        carry_over(model, start, continued)
        logger.info("%s", table_of_classes(labels, start, continued))
    elif recipe.model.backbone is not None:
        load = load_imagenet_backbone if _variant(recipe) in PUBLISHED else load_backbone
        load(model.backbone, recipe.model.backbone)
    return model


def new_model(recipe: Recipe, config: OCRNetConfig) -> OCRNetForSemanticSegmentation:
    """A network with its first weights, on the CPU.

    Raises:
        UserError: if its backbone is timm's and timm isn't installed.
    """
    try:
        model = OCRNetForSemanticSegmentation(config)
    except ImportError as error:
        raise UserError(
            f"model.variant {recipe.model.variant} needs timm: pip install 'modeling-ocrnet[timm]'"
        ) from error
    if not isinstance(config.backbone_config, HRNetConfig):
        freeze_unused_parameters(model)
    if recipe.model.gradient_checkpointing:
        enable_gradient_checkpointing(model)
    return model


def build_config(recipe: Recipe, labels: data.LabelSet, start: StartingModel | None = None) -> OCRNetConfig:
    """What describes the recipe's network.

    Raises:
        UserError: for fields that the configs don't have, values that they refuse, or that contradict `start`.
    """
    classes = {
        "id2label": dict(enumerate(labels.names)),
        "label2id": {name: i for i, name in enumerate(labels.names)},
        "palette": labels.palette[: len(labels.names)].tolist(),
        "label_ids": list(labels.ids),
        "flip_pairs": labels.flip_pairs,
    }
    try:
        if start is not None:
            config = OCRNetConfig(**config_fields(recipe.model, start), **classes)
        else:
            config = _of_variant(recipe, classes)
    except StrictDataclassError as error:
        raise UserError(f"model.config or model.backbone_config: {' '.join(str(error).split())}") from error
    if config.loss_ignore_index != labels.ignore:
        raise UserError(
            f"model.config.loss_ignore_index is {config.loss_ignore_index}, but {labels.ignore} marks the pixels that "
            "aren't labelled: leave it out"
        )
    return config


def _of_variant(recipe: Recipe, classes: dict[str, Any]) -> OCRNetConfig:
    check_fields("model.config", recipe.model.config, OCRNetConfig)
    variant, named, fields = _variant(recipe), read_variant(recipe), recipe.model.backbone_config
    if named is not None:
        of_all = ("out_indices", "out_features")  # properties of backbones' configs, not fields
        check_fields("model.backbone_config", {k: v for k, v in fields.items() if k not in of_all}, type(named.config))
        return OCRNetConfig(**classes, **fields_over(named, fields, recipe.model.config))
    check_fields("model.backbone_config", fields, HRNetConfig if variant in VARIANTS else TimmBackboneConfig)
    return OCRNetConfig.from_variant(variant, backbone_fields=fields, **classes, **recipe.model.config)


def build_processor(
    recipe: Recipe, ignore_index: int = data.IGNORE, start: StartingModel | None = None
) -> OCRNetImageProcessor:
    """Whole images at their own size, or as large as fits into the recipe's scale; normalised as `start` was, or as for
    the backbone's weights."""
    named = None if start is not None else read_variant(recipe)
    normalization = {
        **({} if start is None else start.normalization),
        **({} if named is None else normalisation(named.name, recipe.model.backbone)),
    }
    align_corners = recipe.model.config.get("align_corners", start is not None and start.config.align_corners)
    return _processor(recipe, ignore_index, normalization, align_corners)


def resumed_processor(
    recipe: Recipe, ignore_index: int, config: OCRNetConfig, processor: OCRNetImageProcessor
) -> OCRNetImageProcessor:
    """As [`build_processor`] for a run that goes on: normalised as before, at the sizes that the recipe says now.

    Args:
        recipe: of the run; what it says of the evaluation may have changed.
        ignore_index: the label of pixels that aren't labelled.
        config: of the network, from the checkpoint.
        processor: from the checkpoint.
    """
    normalization = {name: getattr(processor, name) for name in FIELDS}
    return _processor(recipe, ignore_index, normalization, config.align_corners)


def _processor(
    recipe: Recipe, ignore_index: int, normalization: dict[str, Any], align_corners: bool
) -> OCRNetImageProcessor:
    fields: dict[str, Any] = {
        **normalization,
        "align_corners": align_corners,
        "value_range": recipe.data.value_range,
        "ignore_index": ignore_index,
    }
    if recipe.evaluation.resize:
        fields["do_resize"] = True
        fields["size"] = {"shortest_edge": min(recipe.data.scale), "longest_edge": max(recipe.data.scale)}
    return OCRNetImageProcessor(**fields)
