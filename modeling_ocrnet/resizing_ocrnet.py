"""A convolution of feature maps that are resized to one size and concatenated, with fewer operations. Exact but for
rounding.

x_b is map b, W_b the part of the weight that reads it. The convolution is a sum, conv(cat_b resize(x_b)) =
sum_b conv_b(resize(x_b)). A bilinear resize treats rows and columns one after the other, R(C(x)), and acts on positions
alone. A convolution's tap (i, j) mixes channels by a matrix W_bij, then shifts by S_i along the height and by S_j along
the width, S reading 0 where the image ends. What acts on positions commutes with what acts on channels:

    conv_b(resize(x_b)) = sum_i S_i R sum_j S_j C W_bij x_b

So channels are mixed at the *coarse* size, to one map a tap, and two matrices do the rest: [S_i R]_i for all rows of
the result, then [S_j C]_j for all columns. They are bands, as a position reads its neighbours only: the result is made
in tiles, each from a patch of the coarse map (`resize_tiles`).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

# So many maps are resized before the convolution: the finest, and the one of half its size, of which a map a tap would
# take longer to write than the narrower convolution saves.
FINE = 2
TILE = 64  # positions of the result that are made at once: more would read more zeros, fewer overlap more


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
        weight: (channels, sum(widths), taps, taps).
        widths: channels of each map.

    Returns:
        What reads the fine maps, as it is; and for each coarse map (taps, taps * channels, width), the vertical tap
        first.
    """
    fine, *coarse = weight.split([sum(widths[:FINE]), *widths[FINE:]], dim=1)
    return fine, [x.permute(2, 3, 0, 1).flatten(1, 2) for x in coarse]


def convolve_resized(features: list[Tensor], weight: Tensor, bias: Tensor | None, align_corners: bool) -> Tensor:
    """What a convolution of [`resize_concat`]'s maps would give, its padding such that the size stays.

    Args:
        features: (batch, width, h, w), the first one's size is the result's.
        weight: (channels, sum of widths, taps, taps), taps odd.
        bias: (channels,).
        align_corners: of the resizes.

    Returns:
        (batch, channels, height, width), in channels_last memory where there are coarse maps.
    """
    fine, coarse = split_weight(weight, [x.shape[1] for x in features])
    maps = resize_concat(features[:FINE], align_corners)
    total = F.conv2d(maps, fine, bias, padding=weight.shape[-1] // 2)
    if not coarse:
        return total
    return total.add_(mix_and_resize(features[FINE:], coarse, total.shape[-2:], align_corners).permute(0, 3, 1, 2))


def mix_and_resize(
    features: list[Tensor],
    weights: list[Tensor],
    size: tuple[int, int],
    align_corners: bool,
    tile: int | None = TILE,
) -> Tensor:
    """The coarse maps' part of [`convolve_resized`], (batch, height, width, channels).

    Args:
        features: (batch, width, h, w).
        weights: from [`split_weight`].
        size: (height, width).
        align_corners: of the resizes.
        tile: positions along an axis that are made at once (`None`: all).
    """
    (height, width), batch, taps = size, features[0].shape[0], len(weights[0])
    channels = weights[0].shape[1] // taps
    patches, matrices = [], []
    for x, weight in zip(features, weights, strict=True):
        rows, vertical = resize_tiles(x.shape[2], height, taps, align_corners, x, tile)
        columns, horizontal = resize_tiles(x.shape[3], width, taps, align_corners, x, tile)
        (down, high), (across, wide) = rows.shape, columns.shape  # tiles, and positions that a tile reads
        x = x.permute(0, 2, 3, 1).index_select(1, rows.flatten()).index_select(2, columns.flatten())
        # (batch, down, taps * high, across * wide * taps * channels)
        x = torch.cat([F.linear(x, tap).unflatten(1, (down, high)).flatten(3) for tap in weight], dim=2)
        x = vertical.flatten(2) @ x  # (batch, down, rows of a tile, as above)
        patches.append(x.flatten(0, 2).unflatten(1, (across, wide * taps, channels)))
        matrices.append(horizontal.transpose(2, 3).flatten(2))
    x = torch.cat(matrices, dim=2) @ torch.cat(patches, dim=2)  # (batch * rows, across, columns of a tile, channels)
    x = x.flatten(1, 2).unflatten(0, (batch, down * vertical.shape[1]))
    return x[:, :height, :width]


def resize_tiles(
    coarse: int, size: int, taps: int, align_corners: bool, like: Tensor, tile: int | None = None
) -> tuple[Tensor, Tensor]:
    """A linear resize along one axis and the shifts of a convolution's taps, as one matrix for each tile of the result.

    Args:
        coarse, size: before and after the resize.
        taps: of the convolution.
        align_corners: of the resize.
        like: a tensor of the matrix's type and device.
        tile: positions of a tile, at most (`None`: there is one).

    Returns:
        The coarse positions that each tile reads, (tiles, reach) int64; and the matrix (tiles, length, taps, reach).
        The last tile may go beyond the result.
    """
    count, length = 1, size
    if tile is not None:
        count = (size + tile - 1) // tile
        length = tile if torch.compiler.is_compiling() else (size + count - 1) // count  # where sizes are symbols
    position = torch.arange(count * length, device=like.device).reshape(count, length, 1)
    position = position + torch.arange(taps, device=like.device) - taps // 2  # (count, length, taps)
    inside = (position >= 0) & (position < size)
    source = position.to(torch.promote_types(like.dtype, torch.float32))
    if align_corners:
        steps, parts = coarse - 1, (size - 1) or 1  # between the outermost positions
        source = source * steps / parts
    else:
        steps, parts = coarse, size
        source = ((2 * source + 1) * steps / parts - 1) / 2
    source = source.clamp(0, coarse - 1)
    reach, first = coarse, 0
    if tile is not None:
        reach, first = (length + taps - 2) * steps // parts + 3, source[:, :1, 0].floor().long()
    read = first + torch.arange(reach, device=like.device).expand(count, -1)
    share = F.relu(1 - (source[..., None] - read[:, None, None]).abs()) * inside[..., None]
    return read.clamp(max=coarse - 1), share.to(like.dtype)  # of what would lie beyond, the share is 0
