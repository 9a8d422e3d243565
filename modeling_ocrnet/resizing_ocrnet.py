"""A convolution of feature maps that are resized to one size and concatenated, with fewer operations. Exact but for
rounding.

x_b is map b, W_b the part of the weight that reads it. The convolution is a sum, conv(cat_b resize(x_b)) =
sum_b conv_b(resize(x_b)). A bilinear resize treats rows and columns one after the other, resize(x) = C(R(x)), and acts
on positions alone; a convolution's taps mix channels, then shift: tap d along the width is S_d W_d, where S_d moves
columns by d and puts 0 where the image ends. What acts on columns commutes with what acts on channels and rows, so
conv_b(C(R(x))) = sum_d (S_d C) W_d(R(x)): a convolution at the *coarse* width by a kernel one column wide, then one
matrix [S_d C]_d for all columns, (width, coarse width * taps). It is a band: a column reads its neighbours only.
"""

from math import floor

import torch
import torch.nn.functional as F
from torch import Tensor

# So many maps are resized before the convolution: the finest, and the one of half its size, for which the matrix would
# cost more than the narrower convolution saves.
FINE = 2
TILE = 32  # columns of the result that are made at once: more would read more zeros of the matrix, fewer take longer


def resize_concat(features: list[Tensor], align_corners: bool) -> Tensor:
    """Bring feature maps to the size of the first of them and concatenate their channels."""
    size = features[0].shape[-2:]
    resized = [
        x if x.shape[-2:] == size else F.interpolate(x, size=size, mode="bilinear", align_corners=align_corners)
        for x in features
    ]
    return torch.cat(resized, dim=1) if len(resized) > 1 else resized[0]


def split_weight(weight: Tensor, widths: list[int]) -> list[Tensor]:
    """A convolution's weight for [`convolve_resized`]: of the fine maps as it is, then of each coarse map
    (taps * channels, width, taps, 1), output channel c and tap d along the width at d * channels + c."""
    fine, *coarse = weight.split([sum(widths[:FINE]), *widths[FINE:]], dim=1)
    return [fine, *(x.permute(3, 0, 1, 2).flatten(0, 1).unsqueeze(3) for x in coarse)]


def convolve_resized(features: list[Tensor], weights: list[Tensor], bias: Tensor | None, align_corners: bool) -> Tensor:
    """What a convolution of [`resize_concat`]'s maps would give, its padding such that the size stays.

    Args:
        features: (batch, width, h, w), the first one's size is the result's.
        weights: of odd kernels, from [`split_weight`].
        bias: (channels,).
        align_corners: of the resizes.

    Returns:
        (batch, channels, height, width), in channels_last memory where there are coarse maps.
    """
    first, *coarse = weights
    taps = first.shape[-1]
    fine = F.conv2d(resize_concat(features[:FINE], align_corners), first, bias, padding=taps // 2)
    if not coarse:
        return fine
    batch, _, height, width = fine.shape
    total = fine.permute(0, 2, 3, 1).flatten(0, 1)  # (batch*h, w, channels), no copy in channels_last memory
    for weight, x in zip(coarse, features[FINE:], strict=True):
        x = F.interpolate(x, size=(height, x.shape[-1]), mode="bilinear", align_corners=align_corners)
        x = F.conv2d(x, weight, padding=(taps // 2, 0)).permute(0, 2, 3, 1)  # (batch, h, coarse, taps*channels)
        x = x.flatten(0, 1).unflatten(2, (taps, -1)).flatten(1, 2)
        total = add_columns(total, x, taps, align_corners)
    return total.unflatten(0, (batch, height)).permute(0, 3, 1, 2)


def column_matrix(coarse: int, width: int, taps: int, align_corners: bool, like: Tensor) -> Tensor:
    """The matrix [S_d C]_d, (width, coarse * taps): a linear resize of columns, then a shift for each tap."""
    unit = torch.eye(coarse, dtype=like.dtype, device=like.device)
    resize = F.interpolate(unit[None], size=width, mode="linear", align_corners=align_corners)[0]  # (coarse, width)
    # unfold: column x + d - taps // 2 for each tap d, and zeros beyond the border
    shifted = F.pad(resize, (taps // 2, taps // 2)).unfold(1, taps, 1)  # (coarse, width, taps)
    return shifted.transpose(0, 1).flatten(1).to(like.dtype)  # autocast resizes in float32


def add_columns(total: Tensor, x: Tensor, taps: int, align_corners: bool) -> Tensor:
    """`total` (rows, width, channels), in place, plus [`column_matrix`] times `x` (rows, coarse * taps, channels)."""
    width, coarse = total.shape[1], x.shape[1] // taps
    matrix = column_matrix(coarse, width, taps, align_corners, x)
    if torch.compiler.is_compiling():  # whose sizes may be unknown
        return total.baddbmm_(matrix.expand(x.shape[0], -1, -1), x)
    bands = [(slice(0, width), slice(0, coarse * taps))]
    if x.device.type == "cpu":  # elsewhere many small products take longer than a large one
        bands = column_bands(coarse, width, taps, align_corners)
    return _AddColumns.apply(total, x, matrix, bands)


def column_bands(
    coarse: int, width: int, taps: int, align_corners: bool, tile: int = TILE
) -> list[tuple[slice, slice]]:
    """Rows of the column matrix, `tile` at a time, and a range of its columns outside of which they are 0."""
    offset = 0.0 if align_corners else 0.5
    scale = (coarse - 1) / max(width - 1, 1) if align_corners else coarse / width
    bands = []
    for start in range(0, width, tile):
        stop = min(start + tile, width)
        first, last = start - taps // 2, stop - 1 + taps // 2  # columns that the taps read
        # one more on either side, for rounding
        low = min(max(floor((first + offset) * scale - offset) - 1, 0), coarse - 1)
        high = max(min(floor((last + offset) * scale - offset) + 3, coarse), low + 1)
        bands.append((slice(start, stop), slice(low * taps, high * taps)))
    return bands


class _AddColumns(torch.autograd.Function):
    """The products of all bands; by itself, autograd would copy the whole gradient once a band."""

    @staticmethod
    def forward(ctx, total, x, matrix, bands):
        ctx.save_for_backward(matrix)
        ctx.bands, ctx.size = bands, x.shape
        ctx.mark_dirty(total)
        for tile, read in bands:
            band = matrix[tile, read].expand(len(x), -1, -1)
            total[:, tile].baddbmm_(band, x[:, read])
        return total

    @staticmethod
    def backward(ctx, gradient):
        (matrix,) = ctx.saved_tensors
        of_x = gradient.new_zeros(ctx.size)
        for tile, read in ctx.bands:
            band = matrix[tile, read].t().expand(len(gradient), -1, -1)
            of_x[:, read].baddbmm_(band, gradient[:, tile])
        return gradient, of_x, None, None
