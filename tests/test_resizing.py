"""Channels are mixed before maps are resized: against the plain order of things, in float64, with gradients."""

import pytest
import torch
import torch.nn.functional as F
from helpers.tiny import WIDTHS

from modeling_ocrnet.resizing_ocrnet import TILE, resize_tiles
from modeling_ocrnet.training.fast_layers.heads import convolve_resized


def plain(maps, weight, bias, align_corners):
    size = maps[0].shape[-2:]
    resized = [F.interpolate(x, size=size, mode="bilinear", align_corners=align_corners) for x in maps]
    return F.conv2d(torch.cat(resized, 1), weight, bias, padding=weight.shape[-1] // 2)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("kernel", "count"), [(1, 4), (3, 4), (5, 4), (3, 2), (3, 1)])
def test_agrees_with_a_convolution_of_resized_maps(kernel, count, align_corners):
    """Also across the borders of tiles, and in what flows back to maps, weight and bias."""
    widths = WIDTHS[:count]
    sizes = [(TILE + 1, 2 * TILE + 5), (TILE // 2 + 1, TILE), (18, TILE // 2 - 9), (2, 7)]
    maps = [torch.randn(2, n, *size, dtype=torch.float64) for n, size in zip(widths, sizes, strict=False)]
    weight, bias = torch.randn(6, sum(widths), kernel, kernel).double(), torch.randn(6).double()
    leaves = [x.requires_grad_() for x in (*maps, weight, bias)]
    expected = plain(maps, weight, bias, align_corners)
    mixed = convolve_resized(maps, weight, bias, align_corners)
    torch.testing.assert_close(mixed, expected, rtol=1e-11, atol=1e-11)
    target = torch.randn_like(expected)
    for ours, theirs in zip(*(torch.autograd.grad((x * target).sum(), leaves) for x in (mixed, expected)), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(
    ("coarse", "size"), [(1, 8), (1, 1), (4, 13), (8, 64), (13, 100), (64, 64), (100, 40), (33, 257)]
)
@pytest.mark.parametrize("kernel_size", [1, 3, 7])
@pytest.mark.parametrize("tile", [5, TILE])
def test_a_resize_and_a_convolution_are_one_matrix_a_tile(coarse, size, kernel_size, align_corners, tile):
    """Also at the borders, where a convolution reads zeros, not the resize's repeated positions."""
    x, weight = torch.randn(1, 1, coarse).double(), torch.randn(1, 1, kernel_size).double()
    resized = F.interpolate(x, size=size, mode="linear", align_corners=align_corners)
    expected = F.conv1d(resized, weight, padding=kernel_size // 2)[0, 0]
    read, matrix = resize_tiles(coarse, size, kernel_size, align_corners, x, tile)
    assert matrix.shape[1] <= tile
    result = torch.einsum("nltr,t,nr->nl", matrix, weight[0, 0], x[0, 0][read]).flatten()
    torch.testing.assert_close(result[:size], expected, rtol=1e-12, atol=1e-12)
