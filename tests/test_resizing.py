"""Channels are mixed before maps are resized: against the plain order of things, in float64, with gradients."""

import pytest
import torch
import torch.nn.functional as F
from tiny import WIDTHS, tiny_config

from modeling_ocrnet.modeling_ocrnet import ConvNormAct, ResizedConvNormAct
from modeling_ocrnet.resizing_ocrnet import TILE, column_bands, column_matrix, convolve_resized, split_weight


def plain(maps, weight, bias, align_corners):
    size = maps[0].shape[-2:]
    resized = [F.interpolate(x, size=size, mode="bilinear", align_corners=align_corners) for x in maps]
    return F.conv2d(torch.cat(resized, 1), weight, bias, padding=weight.shape[-1] // 2)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("kernel", "count"), [(1, 4), (3, 4), (5, 4), (3, 2), (3, 1)])
def test_agrees_with_a_convolution_of_resized_maps(kernel, count, align_corners):
    """Also across the borders of tiles, and in what flows back to maps, weight and bias."""
    widths = WIDTHS[:count]
    sizes = [(9, 3 * TILE + 5), (5, TILE), (4, TILE - 9), (2, 7)]
    maps = [torch.randn(2, n, *size, dtype=torch.float64) for n, size in zip(widths, sizes, strict=False)]
    weight, bias = torch.randn(6, sum(widths), kernel, kernel).double(), torch.randn(6).double()
    leaves = [x.requires_grad_() for x in (*maps, weight, bias)]
    expected = plain(maps, weight, bias, align_corners)
    mixed = convolve_resized(maps, split_weight(weight, widths), bias, align_corners)
    torch.testing.assert_close(mixed, expected, rtol=1e-11, atol=1e-11)
    target = torch.randn_like(expected)
    for ours, theirs in zip(*(torch.autograd.grad((x * target).sum(), leaves) for x in (mixed, expected)), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("coarse", "width"), [(1, 8), (8, 64), (13, 100), (64, 64), (100, 40), (33, 257)])
@pytest.mark.parametrize("taps", [1, 3, 7])
def test_outside_of_its_bands_the_matrix_is_zero(coarse, width, taps, align_corners):
    matrix = column_matrix(coarse, width, taps, align_corners, torch.zeros(1, dtype=torch.float64))
    bands = column_bands(coarse, width, taps, align_corners)
    assert [x for tile, _ in bands for x in range(*tile.indices(width))] == list(range(width))
    for tile, read in bands:
        assert matrix[tile, read].count_nonzero() == matrix[tile].count_nonzero() > 0


def test_only_training_mixes_first():
    """In eval mode the layer is the plain one, bit for bit; in training it isn't, but as close as rounding allows."""
    layer = ResizedConvNormAct(tiny_config(), sum(WIDTHS), 16, 3)
    maps = [torch.randn(2, n, 32 // 2**i, 48 // 2**i) for i, n in enumerate(WIDTHS)]
    resized = [F.interpolate(x, size=(32, 48), mode="bilinear", align_corners=False) for x in maps]
    for training in (False, True):
        expected = ConvNormAct.forward(layer.train(training), torch.cat(resized, 1))
        assert torch.equal(layer(maps), expected) != training
        torch.testing.assert_close(layer(maps), expected, rtol=1e-4, atol=1e-4)
