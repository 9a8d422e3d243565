"""The heads with fewer or cheaper operations: a layer's weight acts where there are fewest positions.

[`ConvNormAct`]'s parts are called one by one here. An adapter (of peft, say) that has taken a convolution's place must
be called itself: [`is_plain`] tells.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...fusion_ocrnet import gather_regions
from ...heads_ocrnet import ConvNormAct, ObjectAttention, OCRHead, SoftObjectRegions, SpatialGather
from ...loss_ocrnet import upcast_to_float32
from ...resizing_ocrnet import FINE_MAPS, mix_and_resize, resize_concat, split_weight


def is_plain(conv: nn.Module) -> bool:
    """Whether a layer is a convolution and nothing else, so that its weight says all of it."""
    return type(conv) is nn.Conv2d


def convolve_resized(features: list[Tensor], weight: Tensor, bias: Tensor | None, align_corners: bool) -> Tensor:
    """What a convolution of [`resize_concat`]'s maps would give, its padding such that the size stays.

    Args:
        features: (batch, width, h, w), the first one's size is the result's.
        weight: (channels, sum of widths, kernel_size, kernel_size), kernel_size odd.
        bias: (channels,).
        align_corners: of the resizes.

    Returns:
        (batch, channels, height, width), in channels_last memory where there are coarse maps.
    """
    fine, coarse = split_weight(weight, [x.shape[1] for x in features])
    maps = resize_concat(features[:FINE_MAPS], align_corners)
    total = F.conv2d(maps, fine, bias, padding=weight.shape[-1] // 2)
    if not coarse:
        return total
    return total.add_(mix_and_resize(features[FINE_MAPS:], coarse, total.shape[-2:], align_corners).permute(0, 3, 1, 2))


def project(layer: ConvNormAct, features: list[Tensor], align_corners: bool) -> Tensor:
    """A head's first layer, of feature maps that are resized and concatenated.

    Channels are mixed before the resize if a CPU trains in half precision. (float32 is finer than another order of
    sums, inference has `fuse`, and other devices weren't measured.)
    """
    x = features[0]
    half = x.dtype.itemsize < 4 or torch.is_autocast_enabled("cpu") and x.dtype == torch.float32
    if not (half and layer.training and is_plain(layer.conv) and x.device.type == "cpu"):
        return layer(resize_concat(features, align_corners))
    return layer.act(layer.norm(convolve_resized(features, layer.conv.weight, layer.conv.bias, align_corners)))


def fuse_maps(layer: ConvNormAct, first: Tensor, second: Tensor) -> Tensor:
    """A 1x1 layer of two maps, (batch, channels, h, w) each, as if concatenated: the sum of two convolutions."""
    conv = layer.conv
    if not is_plain(conv):
        return layer(torch.cat([first, second], dim=1))
    of_first, of_second = conv.weight.chunk(2, dim=1)
    return layer.act(layer.norm(F.conv2d(first, of_first, conv.bias).add_(F.conv2d(second, of_second))))


class FastSoftObjectRegions(SoftObjectRegions):
    """Projects by [`project`]."""

    def forward(self, features: list[Tensor]) -> Tensor:
        return self.classifier(self.dropout(project(self.projection, features, self.align_corners)))


class FastSpatialGather(SpatialGather):
    """Multiplies in bfloat16 if the pixels are: products are summed in float32. (float16 can't hold the weights.)"""

    def forward(self, pixels: Tensor, region_logits: Tensor) -> Tensor:
        if pixels.dtype != torch.bfloat16:
            return super().forward(pixels, region_logits)
        return gather_regions(pixels.flatten(2).transpose(1, 2), region_logits).unsqueeze(3)


class FastObjectAttention(ObjectAttention):
    """Lets `out`'s convolution act on the regions' values, of which there are fewer than pixels.

    It mixes channels, and the attention mixes regions, so that their order doesn't matter. Its bias passes unchanged,
    as the attention of a pixel sums to 1.
    """

    def forward(self, pixels: Tensor, regions: Tensor) -> tuple[Tensor, Tensor]:
        query = self.query(pixels).flatten(2).transpose(1, 2)  # (batch, h*w, keys)
        key = self.key(regions).flatten(2)  # (batch, keys, classes)
        value = self.out.conv(self.value(regions)).flatten(2).transpose(1, 2)  # (batch, classes, channels)
        attention = upcast_to_float32((query @ key) * query.shape[-1] ** -0.5).softmax(dim=-1)  # over classes
        context = (attention.to(value.dtype) @ value).transpose(1, 2)  # (batch, channels, h*w)
        return self.out.act(self.out.norm(context.unflatten(2, pixels.shape[-2:]))), attention


class FastOCRHead(OCRHead):
    """Projects by [`project`], and concatenates nothing."""

    def forward(self, features: list[Tensor], region_logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pixels = project(self.projection, features, self.align_corners)
        regions = self.gather(pixels, region_logits)
        context, attention = self.attention(pixels, regions)
        augmented = fuse_maps(self.fusion, context, pixels)
        return self.classifier(self.dropout(augmented)), regions, attention
