# SPDX-License-Identifier: Apache-2.0
"""Feature maps resized to one size and concatenated; and the same with a convolution behind it, in fewer operations.

x_b is map b, W_b the part of a convolution's weight that reads it. The convolution is a sum:

    conv(cat_b resize(x_b)) = sum_b conv_b(resize(x_b))

1. A bilinear resize treats columns and rows one after the other: resize(x) = R(C(x)).
2. The entry (i, j) of the kernel mixes channels by a matrix W_bij. Then it shifts the map by S_i along the height and
   by S_j along the width, where S reads 0 beyond the image.
3. Shifts and resizes act on positions, W_bij acts on channels: they commute.

    conv_b(resize(x_b)) = sum_i S_i R sum_j S_j C W_bij x_b

So channels are mixed at the *coarse* size, to one map for each entry of the kernel. Two matrices do the rest: [S_i R]_i
makes all rows of the result, then [S_j C]_j makes all columns. Both are bands, as a position reads only what is near.
Therefore the result is made in tiles, each from a patch of the coarse map ([`resize_tiles`]). All of this is exact but
for rounding.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

# So many maps are resized before the convolution: the finest, and the one of half its size. Of the latter, one map for
# each entry of the kernel would take longer to write than the narrower convolution saves.
FINE_MAPS = 2
TILE = 64  # positions of the result that are made at once: more would read more zeros, fewer would overlap more


def resize_concat(features: list[Tensor], align_corners: bool) -> Tensor:
    """Bring feature maps to the size of the first of them and concatenate their channels."""
    size = features[0].shape[-2:]
    resized = [
        x if x.shape[-2:] == size else F.interpolate(x, size=size, mode="bilinear", align_corners=align_corners)
        for x in features
    ]
    return torch.cat(resized, dim=1) if len(resized) > 1 else resized[0]


def split_weight(weight: Tensor, widths: list[int]) -> tuple[Tensor, list[Tensor]]:
    """A convolution's weight in parts.

    Args:
        weight: (channels, sum(widths), kernel_size, kernel_size).
        widths: channels of each map.

    Returns:
        The part that reads the fine maps; and a part for each coarse map, (kernel_size, kernel_size * channels, width),
        whose first axis is the kernel's vertical one.
    """
    fine, *coarse = weight.split([sum(widths[:FINE_MAPS]), *widths[FINE_MAPS:]], dim=1)
    return fine, [x.permute(2, 3, 0, 1).flatten(1, 2) for x in coarse]


def mix_and_resize(
    features: list[Tensor],
    weights: list[Tensor],
    size: tuple[int, int],
    align_corners: bool,
    tile: int | None = TILE,
) -> Tensor:
    """What a convolution makes of coarse maps that are resized to one size, (batch, height, width, channels).

    Args:
        features: (batch, width, h, w), the coarse maps.
        weights: from [`split_weight`].
        size: (height, width).
        align_corners: of the resizes.
        tile: positions along an axis that are made at once (`None`: all).
    """
    (height, width), batch, kernel_size = size, features[0].shape[0], len(weights[0])
    channels = weights[0].shape[1] // kernel_size
    patches, matrices = [], []
    for x, weight in zip(features, weights, strict=True):
        rows, vertical = resize_tiles(x.shape[2], height, kernel_size, align_corners, x, tile)
        columns, horizontal = resize_tiles(x.shape[3], width, kernel_size, align_corners, x, tile)
        (down, high), (across, wide) = rows.shape, columns.shape  # tiles, and positions that a tile reads
        x = x.permute(0, 2, 3, 1).index_select(1, rows.flatten()).index_select(2, columns.flatten())
        # (batch, down, kernel_size * high, across * wide * kernel_size * channels)
        x = torch.cat([F.linear(x, w).unflatten(1, (down, high)).flatten(3) for w in weight], dim=2)
        x = vertical.flatten(2) @ x  # (batch, down, rows of a tile, as above)
        patches.append(x.flatten(0, 2).unflatten(1, (across, wide * kernel_size, channels)))
        matrices.append(horizontal.transpose(2, 3).flatten(2))
    x = torch.cat(matrices, dim=2) @ torch.cat(patches, dim=2)  # (batch * rows, across, columns of a tile, channels)
    x = x.flatten(1, 2).unflatten(0, (batch, down * vertical.shape[1]))
    return x[:, :height, :width]


def resize_tiles(
    coarse: int, size: int, kernel_size: int, align_corners: bool, like: Tensor, tile: int | None = None
) -> tuple[Tensor, Tensor]:
    """A linear resize along one axis and the shifts of a convolution, as one matrix for each tile of the result.

    Args:
        coarse, size: length before and after the resize.
        kernel_size: of the convolution.
        align_corners: of the resize.
        like: a tensor of the matrix's type and device.
        tile: positions of a tile, at most (`None`: there is one).

    Returns:
        The coarse positions that each tile reads, (tiles, support) int64; and the matrices, (tiles, length,
        kernel_size, support). The last tile may go beyond the result.
    """
    count, length = 1, size
    if tile is not None:
        count = (size + tile - 1) // tile
        length = tile if torch.compiler.is_compiling() else (size + count - 1) // count  # if sizes are symbols
    position = torch.arange(count * length, device=like.device).reshape(count, length, 1)
    position = position + torch.arange(kernel_size, device=like.device) - kernel_size // 2  # (count, length, kernel)
    inside = (position >= 0) & (position < size)
    source = position.to(torch.promote_types(like.dtype, torch.float32))
    if align_corners:
        steps, parts = coarse - 1, (size - 1) or 1  # between the outermost positions
        source = source * steps / parts
    else:
        steps, parts = coarse, size
        source = ((2 * source + 1) * steps / parts - 1) / 2
    source = source.clamp(0, coarse - 1)
    support, first = coarse, 0
    if tile is not None:
        support, first = (length + kernel_size - 2) * steps // parts + 3, source[:, :1, 0].floor().long()
    read = first + torch.arange(support, device=like.device).expand(count, -1)
    weight = F.relu(1 - (source[..., None] - read[:, None, None]).abs()) * inside[..., None]
    return read.clamp(max=coarse - 1), weight.to(like.dtype)  # the weight of what lies beyond the map is 0
