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
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import AutoBackbone, PreTrainedModel
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.modeling_outputs import SemanticSegmenterOutput
from transformers.models.auto.modeling_auto import MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES
from transformers.utils import can_return_tuple
from transformers.utils.generic import maybe_autocast

from .configuration_ocrnet import OCRNetConfig
from .loss_ocrnet import full_precision, segmentation_loss
from .modeling_hrnet import HRNetBackbone, recompute_without_statistics
from .resizing_ocrnet import convolve_resized, resize_concat


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


class ResizedConvNormAct(ConvNormAct):
    """A [`ConvNormAct`] that reads feature maps, resized to the first one's size and concatenated."""

    def __init__(self, config: OCRNetConfig, *args, **kwargs):
        super().__init__(config, *args, **kwargs)
        self.align_corners = config.align_corners

    def forward(self, features: list[Tensor]) -> Tensor:
        # Only in half precision, whose rounding is coarser than another order of sums; inference has `fuse`; an adapter
        # in the convolution's place has to be called; other devices weren't measured.
        x, autocast = features[0], torch.is_autocast_enabled("cpu")
        half = x.dtype.itemsize < 4 or autocast and x.dtype == torch.float32
        if not (half and self.training and type(self.conv) is nn.Conv2d and x.device.type == "cpu"):
            return super().forward(resize_concat(features, self.align_corners))
        return self.act(self.norm(convolve_resized(features, self.conv.weight, self.conv.bias, self.align_corners)))


class ConcatConvNormAct(ConvNormAct):
    """A [`ConvNormAct`] of kernel 1 that reads two maps, (batch, inputs / 2, h, w), as if they were concatenated."""

    def forward(self, maps: list[Tensor]) -> Tensor:
        if type(self.conv) is not nn.Conv2d:  # an adapter
            return super().forward(torch.cat(maps, dim=1))
        first, second = self.conv.weight.chunk(2, dim=1)
        return self.act(self.norm(F.conv2d(maps[0], first, self.conv.bias).add_(F.conv2d(maps[1], second))))


class OCRNetClassifier(nn.Conv2d):
    """A 1x1 convolution to class logits; a class of its own because it is initialised in its own way."""

    def __init__(self, channels: int, classes: int):
        super().__init__(channels, classes, kernel_size=1)


class SoftObjectRegions(nn.Module):
    """The auxiliary head: where might each class be? Feature maps to (batch, classes, h, w) of the first one's size."""

    def __init__(self, config: OCRNetConfig, inputs: int):
        super().__init__()
        hidden = config.auxiliary_channels or inputs
        self.projection = ResizedConvNormAct(
            config, inputs, hidden, config.auxiliary_kernel_size, config.input_conv_bias
        )
        self.dropout = nn.Dropout2d(config.auxiliary_dropout)
        self.classifier = OCRNetClassifier(hidden, config.num_labels)

    def forward(self, features: list[Tensor]) -> Tensor:
        return self.classifier(self.dropout(self.projection(features)))


def gather_regions(pixels: Tensor, region_logits: Tensor) -> Tensor:
    """Object region representations (equation 1): f_k = sum_i m_ki x_i.

    Args:
        pixels: (batch, channels, h, w), the pixel representations x_i.
        region_logits: (batch, classes, h, w).

    Returns:
        (batch, channels, classes, 1): a map with one "pixel" a region.
    """
    pixels, region_logits = (x.flatten(2).transpose(1, 2) for x in (pixels, region_logits))
    return gather_pixels(pixels, region_logits).unsqueeze(3)


def gather_pixels(pixels: Tensor, region_logits: Tensor) -> Tensor:
    """The same of lists: (batch, h * w, channels) and (batch, h * w, classes) to (batch, channels, classes)."""
    with maybe_autocast(pixels.device.type, enabled=False):
        # The softmax runs over SPACE, not over classes: m_k says how much each pixel counts for region k, so that f_k
        # is a mean of pixels. Its values (about 1 / pixels) would fall out of float16's range, and of bfloat16's not.
        regions = full_precision(region_logits.transpose(1, 2)).softmax(dim=2)  # (batch, classes, h*w)
        if pixels.dtype == torch.bfloat16:  # products of it are summed in float32
            representations = regions.bfloat16() @ pixels
        else:
            representations = (regions @ full_precision(pixels)).to(pixels.dtype)
        return representations.transpose(1, 2)


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
        self.out.norm.starts_at_zero = config.zero_init_context

    def forward(self, pixels: Tensor, regions: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels (batch, channels, h, w) and regions (batch, channels, classes, 1) to the object context, of the
        pixels' shape, and the attention (batch, h*w, classes)."""
        query = self.query(pixels).flatten(2).transpose(1, 2)  # (batch, h*w, keys)
        key = self.key(regions).flatten(2)  # (batch, keys, classes)
        # `out`'s convolution mixes channels, attention mixes regions: it is as well done here, for a few regions
        # instead of all pixels. Its bias passes unchanged, as the attention of a pixel sums to 1.
        value = self.out.conv(self.value(regions)).flatten(2).transpose(1, 2)  # (batch, classes, channels)

        similarity = (query @ key) * query.shape[-1] ** -0.5
        attention = full_precision(similarity).softmax(dim=-1)  # over classes
        context = (attention.to(value.dtype) @ value).transpose(1, 2)  # (batch, channels, h*w)
        context = context.unflatten(2, pixels.shape[-2:])
        return self.out.act(self.out.norm(context)), attention


class OCRHead(nn.Module):
    """From features and soft object regions to logits."""

    def __init__(self, config: OCRNetConfig, inputs: int):
        super().__init__()
        channels = config.ocr_channels
        self.projection = ResizedConvNormAct(config, inputs, channels, kernel=3, bias=config.input_conv_bias)
        self.attention = ObjectAttention(config)
        self.fusion = ConcatConvNormAct(config, 2 * channels, channels, bias=config.attention_conv_bias)
        self.dropout = nn.Dropout2d(config.dropout)
        self.classifier = OCRNetClassifier(channels, config.num_labels)

    def forward(self, features: list[Tensor], region_logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pixels = self.projection(features)
        regions = gather_regions(pixels, region_logits)
        context, attention = self.attention(pixels, regions)
        augmented = self.dropout(self.fusion([context, pixels]))
        return self.classifier(augmented), regions, attention


class OCRNetPreTrainedModel(PreTrainedModel):
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
        elif getattr(module, "starts_at_zero", False):
            init.zeros_(module.weight)

    def get_input_embeddings(self) -> None:
        """There are none: accelerate asks every model before it shards it, and the base class would raise."""
        return

    def _set_gradient_checkpointing(self, enable: bool = True, gradient_checkpointing_func=checkpoint, **kwargs):
        super()._set_gradient_checkpointing(
            enable, recompute_without_statistics(self, gradient_checkpointing_func), **kwargs
        )


class OCRNetForSemanticSegmentation(OCRNetPreTrainedModel):
    """OCRNet over any transformers backbone.

    Args:
        config ([`OCRNetConfig`]): the architecture; [`OCRNetConfig.from_variant`] has the published ones.
    """

    def __init__(self, config: OCRNetConfig):
        super().__init__(config)
        backbone_config = config.backbone_config
        # by its type's name: code that came from a Hub has a second HRNetConfig class
        is_hrnet = backbone_config.model_type == "hrnet"
        self.backbone = HRNetBackbone(backbone_config) if is_hrnet else AutoBackbone.from_config(backbone_config)
        for pool in (x for x in self.backbone.modules() if config.pool_ceil_mode and isinstance(x, nn.MaxPool2d)):
            pool.ceil_mode = True
        widths = self.backbone.channels
        self.auxiliary_head = SoftObjectRegions(config, sum(widths[i] for i in config.auxiliary_in_indices))
        self.ocr_head = OCRHead(config, sum(widths[i] for i in config.ocr_in_indices))
        self.post_init()

    def fuse(self) -> "OCRNetForSemanticSegmentation":
        """A copy for inference that computes the same, within rounding, with fewer operations (`fusion_ocrnet.py`)."""
        from .fusion_ocrnet import FusedOCRNet  # which imports this file

        return FusedOCRNet(self)

    def segment(self, features: list[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
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
            ValueError: where the labels aren't (batch, height, width).
        """
        if labels is not None and (labels.ndim != 3 or labels.shape[0] != pixel_values.shape[0]):
            raise ValueError(f"labels must be (batch, height, width), got {tuple(labels.shape)}")
        config = self.config
        outputs = self.backbone.forward_with_filtered_kwargs(
            pixel_values, output_hidden_states=output_hidden_states, return_dict=True
        )
        region_logits, logits, regions, attention = self.segment(outputs.feature_maps)

        loss = ocr_loss = auxiliary_loss = None
        if labels is not None:
            with maybe_autocast(logits.device.type, enabled=False):
                ocr_loss = segmentation_loss(logits, labels, config)
                auxiliary_loss = segmentation_loss(region_logits, labels, config)
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


# Where pipeline("image-segmentation") looks whether a class is supported; Auto classes' `register` doesn't reach it. It
# stands here and not in the package's __init__ because this file travels: it holds for code from a Hub too.
MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES[OCRNetConfig.model_type] = OCRNetForSemanticSegmentation.__name__

__all__ = ["OCRNetForSemanticSegmentation", "OCRNetOutput", "OCRNetPreTrainedModel"]
