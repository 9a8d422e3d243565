# SPDX-License-Identifier: Apache-2.0
"""OCRNet: object-contextual representations for semantic segmentation (arXiv 1909.11065).

image -> backbone -> pixel representations x_i --------------------------------+
              |                                                                 |
              +-> auxiliary head -> soft object regions m_k                     |
                                       |                                        |
                        region representations f_k = sum_i m_ki x_i             |
                                       |                                        |
                  pixel-region relation w_ik = softmax_k <query(x_i), key(f_k)> |
                                       |                                        |
          object context y_i = out(sum_k w_ik value(f_k)) --> [y_i, x_i] -> logits
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import BackboneMixin, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import BackboneOutput, SemanticSegmenterOutput
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs, can_return_tuple

from .backbone_ocrnet import build_backbone, checked_maps, feature_channels
from .configuration_ocrnet import OCRNetConfig
from .feature_pyramid_ocrnet import FeaturePyramid
from .fusion_ocrnet import fuse
from .gradient_checkpointing import BatchNormCheckpointingMixin, make_checkpointable
from .heads_ocrnet import OCRHead, OCRNetClassifier, SoftObjectRegions
from .labels_ocrnet import check_labels, error_of_labels
from .loss_ocrnet import SegmentationLoss


@dataclass
class OCRNetOutput(SemanticSegmenterOutput):
    """Output of [`OCRNetForSemanticSegmentation`]; h and w are the finest feature map's size (stride 4 for HRNet).

    Args:
        loss: `ocr_loss + config.auxiliary_loss_weight * auxiliary_loss`, if labels were given.
        logits: (batch, classes, h, w).
        hidden_states: the backbone's hidden states, if requested.
        attentions: the backbone's attentions, if requested and if it has any; OCRNet's own is `region_attention`.
        auxiliary_logits: (batch, classes, h, w), the soft object regions before their softmax.
        ocr_loss: the OCR head's loss, if labels were given.
        auxiliary_loss: the auxiliary head's loss without its weight, if labels were given.
        region_representations: (batch, classes, ocr_channels), the paper's f_k, if requested.
        region_attention: (batch, classes, h, w), the paper's w_ik, the weight of region k at pixel i, if requested.
    """

    auxiliary_logits: Tensor | None = None
    ocr_loss: Tensor | None = None
    auxiliary_loss: Tensor | None = None
    region_representations: Tensor | None = None
    region_attention: Tensor | None = None


class OCRNetPreTrainedModel(BatchNormCheckpointingMixin, PreTrainedModel):
    config: OCRNetConfig
    base_model_prefix = "ocrnet"
    main_input_name = "pixel_values"
    input_modalities = ("image",)
    supports_gradient_checkpointing = True
    accepts_loss_kwargs = False  # the loss is a mean: Trainer must divide it by the accumulation steps
    _no_split_modules = ["HRNetBottleneck", "HRNetModule", "FeaturePyramid", "SoftObjectRegions", "OCRHead"]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        """As mmsegmentation: convolutions by He initialisation (normal, fan out) with bias 0, batch norms with weight 1
        and bias 0, classifiers normal with `classifier_initializer_range` as standard deviation and bias 0."""
        super()._init_weights(module)
        if isinstance(module, OCRNetClassifier):
            init.normal_(module.weight, std=self.config.classifier_initializer_range)
        elif isinstance(module, nn.Conv2d):
            init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif getattr(module, "zero_init", False):
            init.zeros_(module.weight)

    def get_input_embeddings(self) -> None:
        """`None`: OCRNet has no embeddings. accelerate calls this before it shards a model; the base class raises."""
        return


class OCRNetForSemanticSegmentation(OCRNetPreTrainedModel):
    """OCRNet with any transformers backbone, or a backbone of your own.

    Args:
        config ([`OCRNetConfig`]): the architecture; [`OCRNetConfig.from_variant`] returns the published ones.
        backbone (`nn.Module`, *optional*): a module that replaces the config's backbone. It maps images to a list of
            feature maps, and its `channels` lists their widths. Its weights are kept, and saved with the model. Its
            code isn't saved: pass such a module to [`~PreTrainedModel.from_pretrained`] again.

    Raises:
        ValueError: if such a model is loaded without its backbone, or the feature maps don't fit `channels` or config.

    Example:

    >>> import torch
    >>> from modeling_ocrnet import OCRNetConfig, OCRNetForSemanticSegmentation

    >>> class Pyramid(torch.nn.Module):
    ...     channels = [16, 32]
    ...
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.fine = torch.nn.Conv2d(3, 16, 3, stride=4, padding=1)
    ...         self.coarse = torch.nn.Conv2d(16, 32, 3, stride=2, padding=1)
    ...
    ...     def forward(self, pixel_values):
    ...         fine = self.fine(pixel_values).relu()
    ...         return [fine, self.coarse(fine).relu()]

    >>> config = OCRNetConfig(num_labels=5, ocr_in_indices=[0, 1], auxiliary_in_indices=[0, 1])
    >>> model = OCRNetForSemanticSegmentation(config, backbone=Pyramid())
    >>> model(torch.zeros(1, 3, 64, 96)).logits.shape
    torch.Size([1, 5, 16, 24])
    """

    is_fused = False  # [`fuse`] sets it in its copies

    def __init__(self, config: OCRNetConfig, backbone: nn.Module | None = None):
        super().__init__(config)
        if backbone is None:
            backbone = self.backbone = build_backbone(config)
        widths = feature_channels(backbone, config)
        self.supports_gradient_checkpointing = make_checkpointable(backbone)
        if config.pool_ceil_mode:
            for module in backbone.modules():
                if isinstance(module, nn.MaxPool2d):
                    module.ceil_mode = True
        if config.pyramid_stride is not None:
            self.feature_pyramid = FeaturePyramid(backbone.channels[-1], config.pyramid_channels, config.pyramid_stride)
        self.auxiliary_head = SoftObjectRegions(config, sum(widths[i] for i in config.auxiliary_in_indices))
        self.ocr_head = OCRHead(config, sum(widths[i] for i in config.ocr_in_indices))
        self.criterion = SegmentationLoss()
        self.post_init()
        if not hasattr(self, "backbone"):  # it was passed: `post_init` would have initialised its weights again
            config.backbone_config = backbone.config if isinstance(backbone, BackboneMixin) else None
            config.custom_backbone = None if config.backbone_config else type(backbone).__name__
            self.backbone = backbone.to(self.dtype)

    def fuse(self) -> "OCRNetForSemanticSegmentation":
        """A copy for inference that computes the same, within rounding, with fewer operations (`fusion_ocrnet.py`).

        The copy can't be trained or saved. A fused model returns itself.
        """
        return self if self.is_fused else fuse(self)

    def train(self, mode: bool = True) -> "OCRNetForSemanticSegmentation":
        """As `nn.Module.train`.

        Raises:
            RuntimeError: if `mode` is `True` and the model is fused.
        """
        if mode and self.is_fused:
            raise RuntimeError("a fused OCRNet can't be trained: train the original model, and fuse it again")
        return super().train(mode)

    def save_pretrained(self, *args, **kwargs):
        """As `PreTrainedModel.save_pretrained`.

        Raises:
            RuntimeError: if the model is fused.
        """
        if self.is_fused:
            raise RuntimeError(
                "a fused OCRNet can't be saved: save the original model, and call fuse() after loading it"
            )
        return super().save_pretrained(*args, **kwargs)

    def _encode(self, pixel_values: Tensor, **kwargs) -> BackboneOutput:
        """The heads' feature maps, and the backbone's hidden states and attentions if requested and available."""
        if self.config.pyramid_stride is None:
            return self._run_backbone(pixel_values, **kwargs)
        outputs = self._run_backbone(self.feature_pyramid.pad(pixel_values), **kwargs)
        outputs.feature_maps = self.feature_pyramid(outputs.feature_maps[-1], pixel_values.shape[-2:])
        return outputs

    def _run_backbone(self, pixel_values: Tensor, **kwargs) -> BackboneOutput:
        if not isinstance(self.backbone, BackboneMixin):
            return BackboneOutput(feature_maps=checked_maps(self.backbone, self.backbone(pixel_values)))
        if self.backbone.config.model_type == "timm_backbone":
            kwargs["output_attentions"] = False  # it has none, and would raise
        return self.backbone.forward_with_filtered_kwargs(pixel_values, **kwargs, return_dict=True)

    def _decode(self, features: list[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Both heads: feature maps to region logits, logits, region representations and attention."""
        config = self.config
        region_logits = self.auxiliary_head([features[i] for i in config.auxiliary_in_indices])
        return region_logits, *self.ocr_head([features[i] for i in config.ocr_in_indices], region_logits)

    @can_return_tuple
    def forward(
        self,
        pixel_values: Tensor,
        labels: Tensor | None = None,
        output_regions: bool = False,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> OCRNetOutput:
        """Segment a batch of images.

        Args:
            pixel_values: normalised images, (batch, 3, height, width), any height and width.
            labels: class indices, (batch, height, width) int64; unlabelled pixels are `config.loss_ignore_index`. Their
                size may differ from the images': the loss is computed at the labels' size.
            output_regions: also return `region_representations` and `region_attention`.
            output_hidden_states: also return the backbone's hidden states (`None`: as the config says).
            output_attentions: also return the backbone's attentions, if it has any (`None`: as the config says).
            return_dict: `False` returns a plain tuple.
            kwargs: what transformers passes to every model; unused.

        Returns:
            [`OCRNetOutput`]. Its logits have the finest feature map's size.

        Raises:
            ValueError: for labels of another shape or type, or that are no classes (on a CPU).
            TypeError: for keywords that no model of transformers has.

        Example:

        >>> import torch
        >>> from PIL import Image
        >>> from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation
        >>> import modeling_ocrnet  # registers OCRNet with the Auto classes

        >>> processor = AutoImageProcessor.from_pretrained("runs/street_scenes/model")
        >>> model = AutoModelForSemanticSegmentation.from_pretrained("runs/street_scenes/model").eval()
        >>> image = Image.open("street.png")  # 1024 x 512 pixels; the processor resizes it to 256 x 128
        >>> inputs = processor(images=image, return_tensors="pt")
        >>> with torch.no_grad():
        ...     outputs = model(**inputs)
        >>> outputs.logits.shape  # (batch, classes, height / 4, width / 4)
        torch.Size([1, 19, 32, 64])
        >>> (label_map,) = processor.post_process_semantic_segmentation(outputs, target_sizes=[image.size[::-1]])
        >>> label_map.shape  # (height, width)
        torch.Size([512, 1024])
        """
        for name in kwargs:
            if name not in TransformersKwargs.__annotations__:
                raise TypeError(f"forward() got an unexpected keyword argument {name!r}")
        config = self.config
        if labels is not None:
            check_labels(labels, len(pixel_values))
        outputs = self._encode(
            pixel_values,
            output_hidden_states=config.output_hidden_states if output_hidden_states is None else output_hidden_states,
            output_attentions=config.output_attentions if output_attentions is None else output_attentions,
        )
        region_logits, logits, regions, attention = self._decode(outputs.feature_maps)

        loss = ocr_loss = auxiliary_loss = None
        if labels is not None:
            try:
                ocr_loss = self.criterion(logits, labels, config, config.losses)
                auxiliary_loss = self.criterion(region_logits, labels, config, config.auxiliary_losses or config.losses)
            except (IndexError, RuntimeError) as error:
                raise error_of_labels(labels, config) or error from error
            loss = ocr_loss + config.auxiliary_loss_weight * auxiliary_loss

        return OCRNetOutput(
            loss=loss,
            logits=logits,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            auxiliary_logits=region_logits,
            ocr_loss=ocr_loss,
            auxiliary_loss=auxiliary_loss,
            region_representations=regions.squeeze(3).transpose(1, 2) if output_regions else None,
            region_attention=attention.transpose(1, 2).unflatten(2, logits.shape[-2:]) if output_regions else None,
        )


# pipeline("image-segmentation") looks here for supported classes, and the Auto classes' `register` doesn't add to it.
# It isn't in the package's __init__ because this file is saved with checkpoints, so that code from the Hub has it too.
try:
    from transformers.models.auto.modeling_auto import MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES
except ImportError:  # not a public name; without it, the pipeline works but logs an error
    pass
else:
    MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES[OCRNetConfig.model_type] = OCRNetForSemanticSegmentation.__name__

__all__ = ["OCRNetForSemanticSegmentation", "OCRNetOutput", "OCRNetPreTrainedModel"]
