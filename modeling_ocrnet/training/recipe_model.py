"""The parts of a recipe that say what is trained: the model, and its adapters."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ..common.errors import UserError
from ..conversion.imagenet import IMAGENET_WEIGHTS
from ..loss_fields_ocrnet import OLD_WEIGHTS
from .recipe_checks import check_losses, renamed_fields

VARIANT = "hr18"  # if a recipe names neither a variant nor a model to start from


@dataclass
class ModelRecipe:
    """The model to train."""

    variant: str | None = None
    """Architecture: hr18s, hr18, hr32, hr48, hr64, r101-d8 (needs timm), or the name of any backbone of transformers or
    timm (null: that of init_from, or hr18)."""
    backbone: str | None = "auto"
    """Weights of the backbone: auto (the variant's own), a Hub repository or a local file (null: from scratch)."""
    config: dict[str, Any] = field(default_factory=dict)
    """Further fields of OCRNetConfig: dropout, align_corners, losses ({cross_entropy: 1.0, dice: 0.5}; also
    lovasz, focal, rmi, bootstrapped_cross_entropy), auxiliary_losses (null: the same), class_weights, ohem_threshold,
    loss_normalizer (all: the loss's mean includes ignored pixels, as in mmsegmentation; valid: it doesn't) ..."""
    backbone_config: dict[str, Any] = field(default_factory=dict)
    """Further fields of HRNetConfig (of other backbones: of their own config): zero_init_residual, fuse_upsample ..."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass, which takes less memory but more time."""
    channels_last: bool = True
    """Use the channels_last memory format, which is faster on CPUs and on recent GPUs."""
    fast_layers: bool = True
    """Train with faster layers, mostly for CPUs. The state dict is the same; results differ only by rounding."""
    sync_batch_norm: bool = True
    """Synchronise batch norm statistics over all processes, if their device can."""
    ema_decay: float | None = None
    """Also keep an exponential moving average of the weights, with this decay per step, e.g. 0.999 (null: don't). It is
    evaluated and saved beside them."""
    init_from: str | None = None
    """Start from a model that was trained for segmentation: a folder or Hub repository of an OCRNet, or a checkpoint
    file as `ocrnet convert` reads it. Architecture and normalisation are its own, and model.backbone isn't read."""
    init_classes: dict[str, str] = field(default_factory=dict)
    """With init_from: names of your classes, each with the class of that model that it continues, if the names differ:
    {pavement: sidewalk}."""
    freeze: int | Literal["backbone"] | None = None
    """Leave a part of the model as it is, its batch norms' statistics included: `backbone`, or the number of its first
    stages, the stem with them (null: train all)."""

    def __post_init__(self):
        given, self.config = self.config, renamed_fields(self.config)
        if not given.keys() & OLD_WEIGHTS.keys():  # recipes of older releases may hold what nothing reads
            check_losses(self.config)

    def resolved(self) -> ModelRecipe:
        """The same with the variant and the weights that are meant if none are named."""
        if self.init_from is not None:
            return replace(self, backbone=None)
        variant = self.variant or VARIANT
        weights = IMAGENET_WEIGHTS.get(variant, variant) if self.backbone == "auto" else self.backbone
        return replace(self, variant=variant, backbone=weights)


@dataclass
class LoraRecipe:
    """Low-rank adapters (LoRA, by peft) in place of training all weights."""

    rank: int | None = None
    """Rank of the adapters (null: train the weights themselves)."""
    alpha: float = 16.0
    """Scale of the adapters, as a multiple of 1 / rank."""
    dropout: float = 0.0
    """Probability of dropping an adapter's input."""
    target_modules: list[str] | None = None
    """Ends of the names of layers to adapt (null: all convolutions and linear layers of the backbone that peft can
    adapt, with init_from those of the heads too)."""
    train_whole: list[str] | None = None
    """Ends of the names of modules to train whole, and to save with the adapter (null: with init_from the classifiers,
    otherwise the heads)."""

    def __post_init__(self):
        for name in ("target_modules", "train_whole"):
            if self.rank is None and getattr(self, name) is not None:
                raise UserError(f"lora.{name} is given, but lora.rank isn't: give it too, e.g. --lora.rank 8")
