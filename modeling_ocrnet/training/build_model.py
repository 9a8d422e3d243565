"""From a recipe to its network and its image processor."""

from __future__ import annotations

from huggingface_hub.errors import StrictDataclassError
from transformers import TimmBackboneConfig

from .. import data
from ..common.errors import UserError
from ..configuration_hrnet import HRNetConfig
from ..configuration_ocrnet import OCRNetConfig
from ..conversion.imagenet_hrnet import load_imagenet_backbone
from ..gradient_checkpointing import enable_gradient_checkpointing
from ..image_processing_ocrnet import OCRNetImageProcessor
from ..modeling_ocrnet import OCRNetForSemanticSegmentation
from .recipe import Recipe
from .recipe_checks import check_fields
from .recipe_model import VARIANT


def build_model(recipe: Recipe, labels: data.LabelSet) -> OCRNetForSemanticSegmentation:
    """The recipe's network on the CPU, with ImageNet weights if the recipe names some.

    Raises:
        UserError: for fields that the configs don't have, or values that they refuse.
    """
    config = build_config(recipe, labels)
    try:
        model = OCRNetForSemanticSegmentation(config)
    except ImportError as error:
        raise UserError(
            f"model.variant {recipe.model.variant} needs timm: pip install 'modeling-ocrnet[timm]'"
        ) from error
    if recipe.model.backbone is not None:
        load_imagenet_backbone(model.backbone, recipe.model.backbone)
    if recipe.model.gradient_checkpointing:
        enable_gradient_checkpointing(model)
    return model


def build_config(recipe: Recipe, labels: data.LabelSet) -> OCRNetConfig:
    """What describes the recipe's network.

    Raises:
        UserError: for fields that the configs don't have, or values that they refuse.
    """
    check_fields("model.config", recipe.model.config, OCRNetConfig)
    variant = recipe.model.resolved().variant or VARIANT
    is_hrnet = variant.startswith("hr")
    backbone_class = HRNetConfig if is_hrnet else TimmBackboneConfig
    check_fields("model.backbone_config", recipe.model.backbone_config, backbone_class)
    try:
        config = OCRNetConfig.from_variant(
            variant,
            backbone_fields=recipe.model.backbone_config,
            id2label=dict(enumerate(labels.names)),
            label2id={name: i for i, name in enumerate(labels.names)},
            palette=labels.palette[: len(labels.names)].tolist(),
            label_ids=list(labels.ids),
            flip_pairs=labels.flip_pairs,
            **recipe.model.config,
        )
    except StrictDataclassError as error:
        raise UserError(f"model.config or model.backbone_config: {' '.join(str(error).split())}") from error
    if config.loss_ignore_index != labels.ignore:
        raise UserError(
            f"model.config.loss_ignore_index is {config.loss_ignore_index}, but {labels.ignore} marks the pixels that "
            "aren't labelled: leave it out"
        )
    return config


def build_processor(recipe: Recipe, ignore_index: int = data.IGNORE) -> OCRNetImageProcessor:
    """Whole images at their own size, or as large as fits into the recipe's scale."""
    fields = {
        "align_corners": recipe.model.config.get("align_corners", False),
        "value_range": recipe.data.value_range,
        "ignore_index": ignore_index,
    }
    if recipe.evaluation.resize:
        fields["do_resize"] = True
        fields["size"] = {"shortest_edge": min(recipe.data.scale), "longest_edge": max(recipe.data.scale)}
    return OCRNetImageProcessor(**fields)
