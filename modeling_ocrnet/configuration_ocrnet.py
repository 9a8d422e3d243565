# SPDX-License-Identifier: Apache-2.0
"""Configuration of OCRNet (arXiv 1909.11065)."""

import math
from collections.abc import Iterable
from typing import Any, Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig, TimmBackboneConfig
from transformers.utils import logging

from .configuration_hrnet import VARIANTS, HRNetConfig
from .loss_fields_ocrnet import LossFieldsMixin, fold_old_weights

VERSION = "0.2.0"  # the package's version; setup.cfg reads it
logger = logging.get_logger(__name__)

# ResNet-101 with output stride 8, under timm's name; the auxiliary head reads stage 3, the OCR head stage 4
_R101_BACKBONE = {"backbone": "resnet101c", "out_indices": [1, 2, 3, 4], "output_stride": 8}
_R101_HEADS: dict[str, Any] = {"auxiliary_in_indices": [2], "ocr_in_indices": [3], "auxiliary_channels": 256}
_R101_HEADS |= {"auxiliary_kernel_size": 3, "dropout": 0.1, "auxiliary_dropout": 0.1}
OLD_NORMALIZER = "loss_average"  # `loss_normalizer` in configs that name no `modeling_ocrnet_version`
MAX_LABELS = 2**16  # a 16-bit label file can't hold more
_PER_CLASS_FIELDS = ("palette", "label_ids", "class_weights", "flip_pairs")  # fields with entries for single classes


def ignore_index(classes: int) -> int:
    """The label that means "not labelled": 255; 65535 if 255 is one of the classes; -100 (torch's) if both are."""
    return next((index for index in (2**8 - 1, 2**16 - 1) if index >= classes), -100)


@strict
class OCRNetConfig(LossFieldsMixin, PreTrainedConfig):
    r"""OCRNet: a backbone, an auxiliary head that predicts soft object regions, and the OCR head that attends to them.

    Args:
        backbone_config (`PreTrainedConfig | dict`, *optional*): Any transformers backbone; HRNet-W18 by default.
        custom_backbone (`str`, *optional*): The class name of a backbone that was passed to the model. The model sets
            it, and `backbone_config` is `None` then.
        ocr_in_indices (`list[int]`, defaults to `[0, 1, 2, 3]`): The backbone's feature maps that the OCR head reads;
            several are resized to the first one's size and concatenated.
        auxiliary_in_indices (`list[int]`, defaults to `[0, 1, 2, 3]`): The same for the auxiliary head. The first maps
            of both lists must have the same size.
        pyramid_stride (`int`, *optional*): For backbones whose maps all have one stride (ViTs): make four maps of their
            last one, of a quarter, a half, once and twice this stride, and let the heads read those. `None`: the heads
            read the backbone's own maps.
        pyramid_channels (`int`, defaults to 256): Channels of each of these four maps.
        ocr_channels (`int`, defaults to 512): Channels of the pixel and the region representations.
        key_channels (`int`, defaults to 256): Channels of the attention's queries, keys and values.
        auxiliary_channels (`int`, *optional*): Hidden channels of the auxiliary head; its input channels by default.
        auxiliary_kernel_size (`int`, defaults to 1): Kernel size of the auxiliary head's first convolution.
        input_conv_bias (`bool`, defaults to `False`): Give the heads' first convolutions a bias.
        attention_conv_bias (`bool`, defaults to `False`): Give the convolutions of the attention and after it a bias.
        hidden_act (`str`, defaults to `"relu"`): Activation of both heads.
        dropout (`float`, defaults to 0.0): Probability of dropping a channel before the OCR head's classifier.
        auxiliary_dropout (`float`, defaults to 0.0): The same in the auxiliary head.
        align_corners (`bool`, defaults to `False`): `align_corners` of the bilinear resizes in the heads and the loss.
        pool_ceil_mode (`bool`, defaults to `False`): Let the backbone's max pooling round sizes up (openseg's ResNets:
            a 1024-pixel side then gives a map of 129, not 128).
        batch_norm_eps (`float`, defaults to 1e-5): Epsilon of the heads' batch norms.
        batch_norm_momentum (`float`, defaults to 0.1): Momentum of the heads' running statistics.
        classifier_initializer_range (`float`, defaults to 0.01): Standard deviation of the classifiers' first weights.
        zero_init_context (`bool`, defaults to `False`): Initialise the batch norm's weight of the object context to 0.
            Training from scratch then learns more in the first steps, in which the regions mean nothing yet.
        auxiliary_loss_weight (`float`, defaults to 0.4): Weight of the auxiliary head's loss.
        loss_ignore_index (`int`, *optional*): The label that the loss ignores: 255, or 65535 if 255 is a class.
        losses (`dict[str, float]`, *optional*): Weights of the losses whose sum is a head's; `{"cross_entropy": 1.0}`
            by default. Others: lovasz, dice, focal, rmi, bootstrapped_cross_entropy. `cross_entropy_weight` and
            `lovasz_weight`, old names of two weights, are still read.
        auxiliary_losses (`dict[str, float]`, *optional*): The same for the auxiliary head; `losses` by default.
        loss_normalizer (`"all" | "valid"`, defaults to `"all"`): What the cross-entropy is divided by: all pixels
            (mmsegmentation), or the (class-weighted) number of those that aren't ignored (torch, the authors). Its old
            name, `loss_average`, is still read.
        class_weights (`list[float]`, *optional*): One weight per class in the (bootstrapped) cross-entropy.
        label_smoothing (`float`, defaults to 0.0): Share of the cross-entropy's target that all classes share evenly.
        ohem_threshold (`float`, *optional*): Online hard example mining: the cross-entropy counts only pixels whose
            true class has a lower probability, or the hardest `ohem_min_kept` pixels per image if those are more.
        ohem_min_kept (`int`, *optional*): See `ohem_threshold`. Without a threshold, exactly this many per image.
        focal_gamma (`float`, defaults to 2.0): The larger, the less do easy pixels count in the focal loss.
        focal_alpha (`float`, *optional*): Its weight of a pixel's own class; the others have 1 - this.
        rmi_pooling (`"average" | "max"`, defaults to `"average"`): RMI as in NVIDIA's code, or as in openseg's.
        bootstrap_min_kept (`int`, *optional*): The bootstrapped cross-entropy counts so many pixels per image, the
            hardest ones (by default a twentieth), or all with a loss above `bootstrap_threshold` if those are more.
        bootstrap_threshold (`float`, defaults to 0.05): See `bootstrap_min_kept`.
        palette (`list[list[int]]`, *optional*): One RGB colour per class, for pictures.
        label_ids (`list[int]`, *optional*): The id of each class in its dataset's own label files.
        flip_pairs (`list[list[int]]`, defaults to `[]`): Pairs of classes that a mirror swaps (left arm, right arm).
        modeling_ocrnet_version (`str`, *optional*): Version of the code that wrote this config's file.

    If the number or the names of the classes change (`num_labels`, `id2label`), `palette`, `label_ids`, `flip_pairs`
    and `class_weights` are emptied with a warning, because they belonged to the old classes.

    Raises:
        ValueError: if values don't fit together; the message names the field.
    """

    model_type = "ocrnet"
    sub_configs = {"backbone_config": AutoConfig}
    # Trainer gathers all other outputs
    keys_to_ignore_at_inference = [
        "auxiliary_logits",
        "ocr_loss",
        "auxiliary_loss",
        "region_representations",
        "region_attention",
    ]

    backbone_config: dict[str, Any] | PreTrainedConfig | None = None
    custom_backbone: str | None = None
    ocr_in_indices: list[int] | tuple[int, ...] = (0, 1, 2, 3)
    auxiliary_in_indices: list[int] | tuple[int, ...] = (0, 1, 2, 3)
    pyramid_stride: int | None = None
    pyramid_channels: int = 256
    ocr_channels: int = 512
    key_channels: int = 256
    auxiliary_channels: int | None = None
    auxiliary_kernel_size: int = 1
    input_conv_bias: bool = False
    attention_conv_bias: bool = False
    hidden_act: str = "relu"
    dropout: float | int = 0.0
    auxiliary_dropout: float | int = 0.0
    align_corners: bool = False
    pool_ceil_mode: bool = False
    batch_norm_eps: float = 1e-5
    batch_norm_momentum: float | int = 0.1
    classifier_initializer_range: float | int = 0.01
    zero_init_context: bool = False
    auxiliary_loss_weight: float | int = 0.4
    loss_ignore_index: int | None = None
    losses: dict[str, Any] | None = None
    auxiliary_losses: dict[str, Any] | None = None
    loss_normalizer: Literal["all", "valid"] = "all"
    class_weights: list[float | int] | tuple[float | int, ...] | None = None
    label_smoothing: float | int = 0.0
    ohem_threshold: float | int | None = None
    ohem_min_kept: int | None = None
    focal_gamma: float | int = 2.0
    focal_alpha: float | int | None = None
    rmi_pooling: Literal["average", "max"] = "average"
    bootstrap_min_kept: int | None = None
    bootstrap_threshold: float | int = 0.05
    palette: list[list[int]] | None = None
    label_ids: list[int] | None = None
    flip_pairs: list[list[int]] | tuple[tuple[int, int], ...] = ()
    modeling_ocrnet_version: str | None = None

    def __post_init__(self, **kwargs):
        labels = kwargs.get("num_labels")
        if isinstance(labels, int) and not 1 <= labels <= MAX_LABELS:  # before the base class makes a name for each
            raise ValueError(f"num_labels is {labels}, expected 1 to {MAX_LABELS}")
        if self.custom_backbone is None:
            self.backbone_config = _resolve_backbone(self.backbone_config)
        self.ocr_in_indices = list(self.ocr_in_indices)
        self.auxiliary_in_indices = list(self.auxiliary_in_indices)
        self.flip_pairs = [list(pair) for pair in self.flip_pairs]
        if OLD_NORMALIZER in kwargs:
            logger.warning_once("%s is now called loss_normalizer, and is saved under that name", OLD_NORMALIZER)
            if self.loss_normalizer not in ("all", old := kwargs.pop(OLD_NORMALIZER)):
                raise ValueError(f"loss_normalizer is {self.loss_normalizer}, but its old name loss_average is {old}")
            self.loss_normalizer = old
        folded = fold_old_weights({"losses": self.losses, **kwargs})
        losses = folded.pop("losses")
        self.losses = {"cross_entropy": 1.0} if losses is None else dict(losses)
        super().__post_init__(**folded)
        if self.loss_ignore_index is None:
            self.loss_ignore_index = ignore_index(self.num_labels)

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs) -> "OCRNetConfig":
        """As the base class, but classes are set before the fields that depend on them; `id2label` alone is enough.

        Raises:
            ValueError: if `num_labels`, `id2label` and `label2id` contradict each other.
        """
        names, count = kwargs.pop("id2label", None), kwargs.pop("num_labels", None)
        inverse = {int(index): name for name, index in (kwargs.get("label2id") or {}).items()}
        if names is None and inverse:
            names = inverse
        if inverse and _names(names) != inverse:
            raise ValueError(f"id2label {names} and label2id {kwargs['label2id']} contradict each other")
        fold_old_weights(kwargs)  # for its errors; the attributes' setters fold
        if names is None and count not in (None, len(config_dict.get("id2label") or range(2))):
            names = {index: f"LABEL_{index}" for index in range(count)}
        if names is not None and count not in (None, len(names)):
            raise ValueError(f"num_labels is {count}, but id2label names {len(names)} classes")
        return super().from_dict(config_dict, **({} if names is None else {"id2label": names}), **kwargs)

    def to_dict(self) -> dict[str, Any]:
        """As the base class, with the version of the code that writes it."""
        return {**super().to_dict(), "modeling_ocrnet_version": VERSION}

    def __setattr__(self, name: str, value: Any):
        old = self.__dict__.get("id2label")
        if name == "id2label" and value:
            value = _names(value)  # JSON's keys are strings
            if sorted(value) != list(range(len(value))):
                raise ValueError(f"id2label names the classes {sorted(value)}, expected 0 to {len(value) - 1}")
        super().__setattr__(name, value)
        if name == "id2label" and old and value and _names(old) != value:
            self.label2id = {of_class: index for index, of_class in value.items()}
            self._empty(_PER_CLASS_FIELDS, "they belonged to other classes")
            self._move_ignore_index(len(old), len(value))

    def _move_ignore_index(self, old: int, new: int):
        """Keep `loss_ignore_index` outside the classes if their number changes from `old` to `new`."""
        index, expected = self.loss_ignore_index, ignore_index(new)
        if index is not None and index != expected and (index == ignore_index(old) or old <= index < new):
            self.loss_ignore_index = expected
            logger.warning(
                "loss_ignore_index is now %d for %d classes (it was %d): unlabelled pixels must have this label (set "
                "the image processor's ignore_index too)",
                expected,
                new,
                index,
            )

    def save_pretrained(self, *args, **kwargs):
        # id2label may have been changed in place: fields that no longer fit must not make the save fail
        misfits = [x for x in _PER_CLASS_FIELDS if getattr(self, x) and x != "flip_pairs"]
        misfits = [x for x in misfits if len(getattr(self, x)) != self.num_labels]
        if any(k >= self.num_labels for pair in self.flip_pairs for k in pair):
            misfits.append("flip_pairs")
        self._empty(misfits, f"they don't fit {self.num_labels} classes")
        super().save_pretrained(*args, **kwargs)

    def _empty(self, fields: Iterable[str], reason: str):
        """Empty fields of single classes, and log it in one line."""
        held = [x for x in fields if getattr(self, x, None)]
        for x in held:
            setattr(self, x, [] if x == "flip_pairs" else None)
        if held:
            logger.warning("the config's %s are emptied, because %s: set them again if needed", ", ".join(held), reason)

    def validate_layers(self):
        """Check the fields of the heads' and the pyramid's layers."""
        for name in ("pyramid_stride", "pyramid_channels"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("dropout", "auxiliary_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be 0 or more, and below 1, got {getattr(self, name)}")
        if not 0 < self.batch_norm_eps < math.inf:
            raise ValueError(f"batch_norm_eps must be positive, and finite, got {self.batch_norm_eps}")
        if not 0 <= self.batch_norm_momentum <= 1:
            raise ValueError(f"batch_norm_momentum must be from 0 to 1, got {self.batch_norm_momentum}")
        if not 0 <= self.classifier_initializer_range < math.inf:
            found = self.classifier_initializer_range
            raise ValueError(f"classifier_initializer_range must be 0 or more, and finite, got {found}")

    def validate_classes(self):
        """Check that the fields of single classes fit the number of classes."""
        for name in ("palette", "label_ids"):
            values = getattr(self, name)
            if values is not None and len(values) != self.num_labels:
                raise ValueError(f"{name} has {len(values)} entries for {self.num_labels} classes")
        if any(len(color) != 3 or not all(0 <= x <= 255 for x in color) for color in self.palette or ()):
            raise ValueError(f"palette is {self.palette}, expected three numbers from 0 to 255 for each class")
        if any(not 0 <= x < MAX_LABELS for x in self.label_ids or ()):
            raise ValueError(f"label_ids are {self.label_ids}, expected ids from 0 to {MAX_LABELS - 1}")
        for pair in self.flip_pairs:
            if len(pair) != 2 or not all(0 <= x < self.num_labels for x in pair):
                raise ValueError(f"flip_pairs has {list(pair)}, expected two of the {self.num_labels} classes")

    @classmethod
    def from_variant(cls, variant: str, backbone_fields: dict | None = None, **kwargs) -> "OCRNetConfig":
        """The config of a published architecture, layer for layer as in mmsegmentation's configs.

        Args:
            variant: `"hr18s"`, `"hr18"`, `"hr32"`, `"hr48"`, `"hr64"`, or `"r101-d8"` (whose backbone is timm's).
            backbone_fields: further fields of [`HRNetConfig`] (for `"r101-d8"`: of `TimmBackboneConfig`).
            kwargs: fields of this class, `num_labels` and `id2label` among them.

        Raises:
            ValueError: if the variant is unknown.
        """
        if variant == "r101-d8":
            backbone = TimmBackboneConfig(**{**_R101_BACKBONE, **(backbone_fields or {})})
            return cls(backbone_config=backbone, **{**_R101_HEADS, **kwargs})
        if variant not in VARIANTS:
            raise ValueError(f"variant {variant!r} is unknown; there are {', '.join(VARIANTS)}, r101-d8")
        fields = {"align_corners": kwargs.get("align_corners", False), **VARIANTS[variant], **(backbone_fields or {})}
        return cls(backbone_config=HRNetConfig(**fields), **kwargs)


def _names(id2label: dict) -> dict[int, str]:
    return {int(index): name for index, name in id2label.items()}


def _resolve_backbone(config: dict[str, Any] | PreTrainedConfig | None) -> PreTrainedConfig:
    """A backbone's config from its dict. HRNet's is built here, since code from the Hub isn't in AutoConfig's table."""
    if config is None:
        return HRNetConfig()
    if isinstance(config, dict):
        fields = dict(config)
        model_type = fields.pop("model_type", HRNetConfig.model_type)
        is_hrnet = model_type == HRNetConfig.model_type
        return HRNetConfig(**fields) if is_hrnet else AutoConfig.for_model(model_type, **fields)
    return config
