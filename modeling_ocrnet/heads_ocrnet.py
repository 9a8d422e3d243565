# SPDX-License-Identifier: Apache-2.0
"""OCRNet's two heads (arXiv 1909.11065, equations 1 to 3); the figure is in `modeling_ocrnet.py`."""

from functools import partial

import torch
from torch import Tensor, nn
from transformers.activations import ACT2FN

from .configuration_ocrnet import OCRNetConfig
from .loss_ocrnet import autocast_disabled, upcast_to_float32
from .resizing_ocrnet import resize_concat


class ConvNormAct(nn.Sequential):
    """Convolution, batch norm, activation."""

    def __init__(self, config: OCRNetConfig, inputs: int, outputs: int, kernel: int = 1, bias: bool = False):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias)
        self.norm = nn.BatchNorm2d(outputs, eps=config.batch_norm_eps, momentum=config.batch_norm_momentum)
        self.act = ACT2FN[config.hidden_act]


class OCRNetClassifier(nn.Conv2d):
    """A 1x1 convolution to class logits. It has its own class because its weights are initialised differently."""

    def __init__(self, channels: int, classes: int):
        super().__init__(channels, classes, kernel_size=1)


class SoftObjectRegions(nn.Module):
    """The auxiliary head: feature maps to coarse class logits, (batch, classes, h, w) at the first map's size."""

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
        """Compute the representation of each region, a weighted mean of the pixels.

        Args:
            pixels: (batch, channels, h, w), the pixel representations x_i.
            region_logits: (batch, classes, h, w).

        Returns:
            (batch, channels, classes, 1): a map with one "pixel" per region.
        """
        # The softmax runs over SPACE, not over classes: m_k holds the weight of each pixel in region k, so f_k is a
        # mean over pixels. The weights, about 1 / (h * w), are too small for float16.
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
        """Pixels (batch, channels, h, w) and regions (batch, channels, classes, 1) to the object context, in the
        pixels' shape, and the attention, (batch, h*w, classes)."""
        query = self.query(pixels).flatten(2).transpose(1, 2)  # (batch, h*w, keys)
        key = self.key(regions).flatten(2)  # (batch, keys, classes)
        value = self.value(regions).flatten(2).transpose(1, 2)  # (batch, classes, keys)

        similarity = (query @ key) * query.shape[-1] ** -0.5
        attention = upcast_to_float32(similarity).softmax(dim=-1)  # over classes
        context = (attention.to(value.dtype) @ value).transpose(1, 2)  # (batch, keys, h*w)
        return self.out(context.unflatten(2, pixels.shape[-2:])), attention


class OCRHead(nn.Module):
    """The OCR head: feature maps and soft object regions to logits."""

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
