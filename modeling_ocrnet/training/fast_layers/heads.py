"""The heads with fewer or cheaper operations: a layer's weight is applied to the smallest of the possible maps.

The parts of [`ConvNormAct`] are called separately here. If an adapter (e.g. peft's) has replaced a convolution, its
weight alone isn't enough, so the adapter must be called: [`is_plain`] finds out.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...fusion_ocrnet import gather_regions
from ...heads_ocrnet import ConvNormAct, ObjectAttention, OCRHead, SoftObjectRegions, SpatialGather
from ...loss_ocrnet import upcast_to_float32
from ...resizing_ocrnet import FINE_MAPS, mix_and_resize, resize_concat, split_weight


def is_plain(conv: nn.Module) -> bool:
    """Whether a layer is a plain convolution, which its weight and bias describe completely."""
    return type(conv) is nn.Conv2d


def convolve_resized(features: list[Tensor], weight: Tensor, bias: Tensor | None, align_corners: bool) -> Tensor:
    """The result of [`resize_concat`] and a convolution with "same" padding.

    Args:
        features: (batch, width, h, w) each; the first one's size is the result's.
        weight: (channels, sum of widths, kernel_size, kernel_size), kernel_size odd.
        bias: (channels,), or `None`.
        align_corners: `align_corners` of the resizes.

    Returns:
        (batch, channels, height, width), in channels_last memory if there are coarse maps.
    """
    fine, coarse = split_weight(weight, [x.shape[1] for x in features])
    maps = resize_concat(features[:FINE_MAPS], align_corners)
    total = F.conv2d(maps, fine, bias, padding=weight.shape[-1] // 2)
    if not coarse:
        return total
    return total.add_(mix_and_resize(features[FINE_MAPS:], coarse, total.shape[-2:], align_corners).permute(0, 3, 1, 2))


def project(layer: ConvNormAct, features: list[Tensor], align_corners: bool) -> Tensor:
    """A head's first layer, applied to feature maps that are resized and concatenated.

    Channels are mixed before the resize only if a CPU trains in half precision: another order of sums would change
    float32 results noticeably, inference has `fuse`, and other devices weren't measured.
    """
    x = features[0]
    half = x.dtype.itemsize < 4 or torch.is_autocast_enabled("cpu") and x.dtype == torch.float32
    if not (half and layer.training and is_plain(layer.conv) and x.device.type == "cpu"):
        return layer(resize_concat(features, align_corners))
    return layer.act(layer.norm(convolve_resized(features, layer.conv.weight, layer.conv.bias, align_corners)))


def fuse_maps(layer: ConvNormAct, first: Tensor, second: Tensor) -> Tensor:
    """A 1x1 layer of two concatenated maps, (batch, channels, h, w) each, as the sum of two convolutions."""
    conv = layer.conv
    if not is_plain(conv):
        return layer(torch.cat([first, second], dim=1))
    of_first, of_second = conv.weight.chunk(2, dim=1)
    return layer.act(layer.norm(F.conv2d(first, of_first, conv.bias).add_(F.conv2d(second, of_second))))


class FastSoftObjectRegions(SoftObjectRegions):
    """The auxiliary head with [`project`]."""

    def forward(self, features: list[Tensor]) -> Tensor:
        return self.classifier(self.dropout(project(self.projection, features, self.align_corners)))


class FastSpatialGather(SpatialGather):
    """Multiplies in bfloat16 if the pixels are bfloat16, because it accumulates in float32. (float16 can't hold the
    weights.)"""

    def forward(self, pixels: Tensor, region_logits: Tensor) -> Tensor:
        if pixels.dtype != torch.bfloat16:
            return super().forward(pixels, region_logits)
        return gather_regions(pixels.flatten(2).transpose(1, 2), region_logits).unsqueeze(3)


class FastObjectAttention(ObjectAttention):
    """Applies `out`'s convolution to the regions' values, because there are fewer regions than pixels.

    The convolution mixes channels and the attention mixes regions, so their order doesn't matter. The bias stays the
    same, because a pixel's attention sums to 1.
    """

    def forward(self, pixels: Tensor, regions: Tensor) -> tuple[Tensor, Tensor]:
        query = self.query(pixels).flatten(2).transpose(1, 2)  # (batch, h*w, keys)
        key = self.key(regions).flatten(2)  # (batch, keys, classes)
        value = self.out.conv(self.value(regions)).flatten(2).transpose(1, 2)  # (batch, classes, channels)
        attention = upcast_to_float32((query @ key) * query.shape[-1] ** -0.5).softmax(dim=-1)  # over classes
        context = (attention.to(value.dtype) @ value).transpose(1, 2)  # (batch, channels, h*w)
        return self.out.act(self.out.norm(context.unflatten(2, pixels.shape[-2:]))), attention


class FastOCRHead(OCRHead):
    """The OCR head with [`project`] and [`fuse_maps`], which avoid concatenations."""

    def forward(self, features: list[Tensor], region_logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pixels = project(self.projection, features, self.align_corners)
        regions = self.gather(pixels, region_logits)
        context, attention = self.attention(pixels, regions)
        augmented = fuse_maps(self.fusion, context, pixels)
        return self.classifier(self.dropout(augmented)), regions, attention
