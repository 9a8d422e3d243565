# SPDX-License-Identifier: Apache-2.0
"""Feature maps resized to one size and concatenated; and the same followed by a convolution, in fewer operations.

x_b is map b, W_b the part of a convolution's weight that reads it. The convolution is a sum:

    conv(cat_b resize(x_b)) = sum_b conv_b(resize(x_b))

1. A bilinear resize processes columns and rows one after the other: resize(x) = R(C(x)).
2. Entry (i, j) of the kernel mixes channels by a matrix W_bij. Then it shifts the map by S_i along the height and by
   S_j along the width. S reads 0 outside the image.
3. Shifts and resizes act on positions, and W_bij acts on channels. So they commute.

    conv_b(resize(x_b)) = sum_i S_i R sum_j S_j C W_bij x_b

So channels are mixed at the *coarse* size, which gives one map for each entry of the kernel. Two matrices do the rest:
[S_i R]_i computes all rows of the result, then [S_j C]_j computes all columns. Both are band matrices, because a
position reads only near positions. Therefore the result is computed in tiles, each from a patch of the coarse map
([`resize_tiles`]). All of this is exact except for rounding.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

# The number of maps that are resized before the convolution: the finest, and the one at half its size. For the latter,
# writing one map per entry of the kernel would take more time than the narrower convolution saves.
FINE_MAPS = 2
TILE = 64  # positions of the result per tile: larger tiles read more zeros, smaller ones overlap more


def resize_concat(features: list[Tensor], align_corners: bool) -> Tensor:
    """Resize feature maps, (batch, channels, h, w), to the first one's size and concatenate their channels."""
    size = features[0].shape[-2:]
    resized = [
        x if x.shape[-2:] == size else F.interpolate(x, size=size, mode="bilinear", align_corners=align_corners)
        for x in features
    ]
    return torch.cat(resized, dim=1) if len(resized) > 1 else resized[0]


def split_weight(weight: Tensor, widths: list[int]) -> tuple[Tensor, list[Tensor]]:
    """Split a convolution's weight into the parts that read the fine and the coarse maps.

    Args:
        weight: (channels, sum(widths), kernel_size, kernel_size).
        widths: channels of each map.

    Returns:
        The part that reads the fine maps, and one part for each coarse map, (kernel_size, kernel_size * channels,
        width), whose first axis is the kernel's vertical one.
    """
    fine, *coarse = weight.split([sum(widths[:FINE_MAPS]), *widths[FINE_MAPS:]], dim=1)
    return fine, [x.permute(2, 3, 0, 1).flatten(1, 2) for x in coarse]


def mix_and_resize(
    features: list[Tensor],
    weights: list[Tensor],
    size: tuple[int, ...],
    align_corners: bool,
    tile: int | None = TILE,
) -> Tensor:
    """Resize coarse maps to one size and convolve them.

    Args:
        features: (batch, width, h, w), the coarse maps.
        weights: the coarse maps' parts from [`split_weight`].
        size: (height, width) of the result.
        align_corners: `align_corners` of the resizes.
        tile: positions of a tile along each axis (`None`: all).

    Returns:
        (batch, height, width, channels).
    """
    (height, width), batch, kernel_size = size, features[0].shape[0], len(weights[0])
    channels = weights[0].shape[1] // kernel_size
    patches, matrices = [], []
    for x, weight in zip(features, weights, strict=True):
        rows, vertical = resize_tiles(x.shape[2], height, kernel_size, align_corners, x, tile)
        columns, horizontal = resize_tiles(x.shape[3], width, kernel_size, align_corners, x, tile)
        (down, high), (across, wide) = rows.shape, columns.shape  # number of tiles, positions read per tile
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
    """A linear resize along one axis and the shifts of a convolution, as one matrix per tile of the result.

    Args:
        coarse, size: length before and after the resize.
        kernel_size: the convolution's kernel size.
        align_corners: `align_corners` of the resize.
        like: a tensor with the matrices' dtype and device.
        tile: the largest number of positions per tile (`None`: one tile).

    Returns:
        The coarse positions that each tile reads, (tiles, support) int64, and the matrices, (tiles, length,
        kernel_size, support). The last tile may extend beyond the result.
    """
    count, length = 1, size
    if tile is not None:
        count = (size + tile - 1) // tile
        length = tile if torch.compiler.is_compiling() else (size + count - 1) // count  # `tile` if sizes are symbolic
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
    support = coarse
    first: int | Tensor = 0
    if tile is not None:
        support, first = (length + kernel_size - 2) * steps // parts + 3, source[:, :1, 0].floor().long()
    read = first + torch.arange(support, device=like.device).expand(count, -1)
    weight = F.relu(1 - (source[..., None] - read[:, None, None]).abs()) * inside[..., None]
    return read.clamp(max=coarse - 1), weight.to(like.dtype)  # positions beyond the map have weight 0
