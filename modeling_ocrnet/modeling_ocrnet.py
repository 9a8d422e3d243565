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
from functools import partial

import torch
from torch import Tensor, nn
from transformers import AutoBackbone, PreTrainedModel
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.modeling_outputs import SemanticSegmenterOutput
from transformers.utils import can_return_tuple

from .configuration_ocrnet import OCRNetConfig
from .fusion_ocrnet import fuse
from .loss_ocrnet import SegmentationLoss, autocast_disabled, upcast_to_float32
from .modeling_hrnet import BatchNormCheckpointingMixin, HRNetBackbone
from .resizing_ocrnet import resize_concat


@dataclass
class OCRNetOutput(SemanticSegmenterOutput):
    """What [`OCRNetForSemanticSegmentation`] returns; h and w are the backbone's finest size (stride 4 for HRNet).

    Args:
        loss: `ocr_loss + config.auxiliary_loss_weight * auxiliary_loss`, with labels only.
        logits: (batch, classes, h, w).
        hidden_states: the backbone's, if asked for.
        attentions: always `None` (`region_attention` is OCRNet's).
        auxiliary_logits: (batch, classes, h, w), the soft object regions before their softmax.
        ocr_loss: the OCR head's part of the loss.
        auxiliary_loss: the auxiliary head's part, not yet weighted.
        region_representations: (batch, classes, ocr_channels), the paper's f_k, if asked for.
        region_attention: (batch, classes, h, w), the paper's w_ik: how much pixel i draws from region k, if asked for.
    """

    auxiliary_logits: Tensor | None = None
    ocr_loss: Tensor | None = None
    auxiliary_loss: Tensor | None = None
    region_representations: Tensor | None = None
    region_attention: Tensor | None = None


class ConvNormAct(nn.Sequential):
    """Convolution, batch norm, activation."""

    def __init__(self, config: OCRNetConfig, inputs: int, outputs: int, kernel: int = 1, bias: bool = False):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias)
        self.norm = nn.BatchNorm2d(outputs, eps=config.batch_norm_eps, momentum=config.batch_norm_momentum)
        self.act = ACT2FN[config.hidden_act]


class OCRNetClassifier(nn.Conv2d):
    """A 1x1 convolution to class logits; a class of its own because it is initialised in its own way."""

    def __init__(self, channels: int, classes: int):
        super().__init__(channels, classes, kernel_size=1)


class SoftObjectRegions(nn.Module):
    """The auxiliary head: where might each class be? Feature maps to (batch, classes, h, w) of the first one's size."""

    def __init__(self, config: OCRNetConfig, inputs: int):
        super().__init__()
        self.align_corners = config.align_corners
        hidden = config.auxiliary_channels or inputs
        self.projection = ConvNormAct(config, inputs, hidden, config.auxiliary_kernel_size, config.input_conv_bias)
        self.dropout = nn.Dropout2d(config.auxiliary_dropout)
        self.classifier = OCRNetClassifier(hidden, config.num_labels)

    def forward(self, features: list[Tensor]) -> Tensor:
        hidden = self.projection(resize_concat(features, self.align_corners))
        return self.classifier(self.dropout(hidden))


class SpatialGather(nn.Module):
    """Object region representations (equation 1): f_k = sum_i m_ki x_i. It has no parameters."""

    def forward(self, pixels: Tensor, region_logits: Tensor) -> Tensor:
        """Gather the pixels of each region.

        Args:
            pixels: (batch, channels, h, w), the pixel representations x_i.
            region_logits: (batch, classes, h, w).

        Returns:
            (batch, channels, classes, 1): a map with one "pixel" a region.
        """
        # The softmax runs over SPACE, not over classes: m_k says how much each pixel counts for region k, so that f_k
        # is a mean of pixels. Its values, about 1 / (h * w), are too small for float16.
        with autocast_disabled(pixels):
            regions = upcast_to_float32(region_logits).flatten(2).softmax(dim=2)  # (batch, classes, h*w)
            values = upcast_to_float32(pixels).flatten(2)  # (batch, channels, h*w)
            representations = torch.einsum("bki,bci->bck", regions, values)
        return representations.to(pixels.dtype).unsqueeze(3)


class ObjectAttention(nn.Module):
    """Attention from pixels to regions (equations 2 and 3)."""

    def __init__(self, config: OCRNetConfig):
        super().__init__()
        layer = partial(ConvNormAct, config, bias=config.attention_conv_bias)
        channels, keys = config.ocr_channels, config.key_channels
        self.query = nn.Sequential(layer(channels, keys), layer(keys, keys))
        self.key = nn.Sequential(layer(channels, keys), layer(keys, keys))
        self.value = layer(channels, keys)
        self.out = layer(keys, channels)
        self.out.norm.zero_init = config.zero_init_context

    def forward(self, pixels: Tensor, regions: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels (batch, channels, h, w) and regions (batch, channels, classes, 1) to the object context, of the
        pixels' shape, and the attention (batch, h*w, classes)."""
        query = self.query(pixels).flatten(2).transpose(1, 2)  # (batch, h*w, keys)
        key = self.key(regions).flatten(2)  # (batch, keys, classes)
        value = self.value(regions).flatten(2).transpose(1, 2)  # (batch, classes, keys)

        similarity = (query @ key) * query.shape[-1] ** -0.5
        attention = upcast_to_float32(similarity).softmax(dim=-1)  # over classes
        context = (attention.to(value.dtype) @ value).transpose(1, 2)  # (batch, keys, h*w)
        return self.out(context.unflatten(2, pixels.shape[-2:])), attention


class OCRHead(nn.Module):
    """From features and soft object regions to logits."""

    def __init__(self, config: OCRNetConfig, inputs: int):
        super().__init__()
        self.align_corners = config.align_corners
        channels = config.ocr_channels
        self.projection = ConvNormAct(config, inputs, channels, kernel=3, bias=config.input_conv_bias)
        self.gather = SpatialGather()
        self.attention = ObjectAttention(config)
        self.fusion = ConvNormAct(config, 2 * channels, channels, bias=config.attention_conv_bias)
        self.dropout = nn.Dropout2d(config.dropout)
        self.classifier = OCRNetClassifier(channels, config.num_labels)

    def forward(self, features: list[Tensor], region_logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pixels = self.projection(resize_concat(features, self.align_corners))
        regions = self.gather(pixels, region_logits)
        context, attention = self.attention(pixels, regions)
        augmented = self.fusion(torch.cat([context, pixels], dim=1))
        return self.classifier(self.dropout(augmented)), regions, attention


class OCRNetPreTrainedModel(BatchNormCheckpointingMixin, PreTrainedModel):
    config: OCRNetConfig
    base_model_prefix = "ocrnet"
    main_input_name = "pixel_values"
    input_modalities = ("image",)
    supports_gradient_checkpointing = True
    accepts_loss_kwargs = False  # the loss is a mean: Trainer must divide it by the accumulation steps
    _no_split_modules = ["HRNetBottleneck", "HRNetModule", "SoftObjectRegions", "OCRHead"]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        """As mmsegmentation: He initialisation of convolutions (normal, fan out) with biases 0, batch norms at weight 1
        and bias 0, classifiers normal with standard deviation 0.01 and bias 0."""
        super()._init_weights(module)
        if isinstance(module, OCRNetClassifier):
            init.normal_(module.weight, std=self.config.classifier_initializer_range)
        elif isinstance(module, nn.Conv2d):
            init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif getattr(module, "zero_init", False):
            init.zeros_(module.weight)

    def get_input_embeddings(self) -> None:
        """There are none: accelerate asks every model before it shards it, and the base class would raise."""
        return


class OCRNetForSemanticSegmentation(OCRNetPreTrainedModel):
    """OCRNet over any transformers backbone.

    Args:
        config ([`OCRNetConfig`]): the architecture; [`OCRNetConfig.from_variant`] has the published ones.
    """

    is_fused = False  # [`fuse`] makes it true of its copies

    def __init__(self, config: OCRNetConfig):
        super().__init__(config)
        backbone_config = config.backbone_config
        # by its type's name: code that came from a Hub has a second HRNetConfig class
        is_hrnet = backbone_config.model_type == "hrnet"
        self.backbone = HRNetBackbone(backbone_config) if is_hrnet else AutoBackbone.from_config(backbone_config)
        if config.pool_ceil_mode:
            for module in self.backbone.modules():
                if isinstance(module, nn.MaxPool2d):
                    module.ceil_mode = True
        widths = self.backbone.channels
        self.auxiliary_head = SoftObjectRegions(config, sum(widths[i] for i in config.auxiliary_in_indices))
        self.ocr_head = OCRHead(config, sum(widths[i] for i in config.ocr_in_indices))
        self.criterion = SegmentationLoss()
        self.post_init()

    def fuse(self) -> "OCRNetForSemanticSegmentation":
        """A copy for inference that computes the same, within rounding, with fewer operations (`fusion_ocrnet.py`).

        It can't be trained or saved. Of a fused model, the model itself.
        """
        return self if self.is_fused else fuse(self)

    def train(self, mode: bool = True) -> "OCRNetForSemanticSegmentation":
        """As `nn.Module.train`.

        Raises:
            RuntimeError: if a fused model is to be trained.
        """
        if mode and self.is_fused:
            raise RuntimeError("a fused OCRNet can't be trained: train the model it was made from, and fuse that again")
        return super().train(mode)

    def save_pretrained(self, *args, **kwargs):
        """As `PreTrainedModel.save_pretrained`.

        Raises:
            RuntimeError: if the model is fused.
        """
        if self.is_fused:
            raise RuntimeError(
                "a fused OCRNet can't be saved: save the model it was made from, and call fuse() after loading"
            )
        return super().save_pretrained(*args, **kwargs)

    def _decode(self, features: list[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Both heads: feature maps to soft object regions' logits, logits, regions and attention."""
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
        return_dict: bool | None = None,
    ) -> OCRNetOutput:
        """Segment a batch of images.

        Args:
            pixel_values: normalised images, (batch, 3, height, width), any height and width.
            labels: class indices, (batch, height, width) int64, `config.loss_ignore_index` where unknown. They may have
                another size than the image: the loss is computed at theirs.
            output_regions: return `region_representations` and `region_attention` too.
            output_hidden_states: return the backbone's hidden states too.
            return_dict: `False` for a plain tuple.

        Returns:
            [`OCRNetOutput`]. The logits have the finest feature map's size: the image processor's
            `post_process_semantic_segmentation` brings them to the image's.

        Raises:
            ValueError: if the labels aren't (batch, height, width).
        """
        if labels is not None and (labels.ndim != 3 or labels.shape[0] != pixel_values.shape[0]):
            raise ValueError(f"labels must be (batch, height, width), got {tuple(labels.shape)}")
        config = self.config
        outputs = self.backbone.forward_with_filtered_kwargs(
            pixel_values, output_hidden_states=output_hidden_states, return_dict=True
        )
        region_logits, logits, regions, attention = self._decode(outputs.feature_maps)

        loss = ocr_loss = auxiliary_loss = None
        if labels is not None:
            ocr_loss = self.criterion(logits, labels, config)
            auxiliary_loss = self.criterion(region_logits, labels, config)
            loss = ocr_loss + config.auxiliary_loss_weight * auxiliary_loss

        return OCRNetOutput(
            loss=loss,
            logits=logits,
            hidden_states=outputs.hidden_states,
            auxiliary_logits=region_logits,
            ocr_loss=ocr_loss,
            auxiliary_loss=auxiliary_loss,
            region_representations=regions.squeeze(3).transpose(1, 2) if output_regions else None,
            region_attention=attention.transpose(1, 2).unflatten(2, logits.shape[-2:]) if output_regions else None,
        )


# pipeline("image-segmentation") looks here whether a class is supported; Auto classes' `register` doesn't reach it.
# This stands here and not in the package's __init__ because this file travels: it holds for code from a Hub too.
try:
    from transformers.models.auto.modeling_auto import MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES
except ImportError:  # no public name: without it the pipeline works as well, but logs an error
    pass
else:
    MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES[OCRNetConfig.model_type] = OCRNetForSemanticSegmentation.__name__

__all__ = ["OCRNetForSemanticSegmentation", "OCRNetOutput", "OCRNetPreTrainedModel"]
