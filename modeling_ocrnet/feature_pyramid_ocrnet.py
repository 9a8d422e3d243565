# SPDX-License-Identifier: Apache-2.0
"""The simple feature pyramid of ViTDet (arXiv 2203.16527), for backbones whose maps all have one stride.

last map, stride p -> two transposed convolutions -> stride p/4 --+
                   -> a transposed convolution    -> stride p/2 --+-> 1x1 and 3x3 convolution, each with a norm -> maps
                   -> as it is                    -> stride p   --+
                   -> max pooling                 -> stride 2p  --+
"""

import torch.nn.functional as F
from torch import Tensor, nn

SCALES = (8, 4, 2, 1)  # rows of each of its maps, per two rows of the backbone's


class ChannelNorm(nn.LayerNorm):
    """Layer norm of each pixel over its channels: (batch, channels, h, w) to the same."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class FeaturePyramid(nn.Module):
    """The last map of a plain backbone to four maps.

    Images of any size: they are padded at the right and at the bottom, and the maps are cropped to those rows and
    columns that begin inside the image.

    Args:
        inputs: channels of the backbone's last map.
        channels: channels of each of the pyramid's maps.
        stride: of the backbone's map, in pixels: the size of its patches.
    """

    def __init__(self, inputs: int, channels: int, stride: int):
        super().__init__()
        self.stride = stride
        half, quarter = inputs // 2, inputs // 4
        resizes: tuple[list[nn.Module], ...] = (
            [_double(inputs, half), ChannelNorm(half), nn.GELU(), _double(half, quarter)],
            [_double(inputs, half)],
            [],
            [nn.MaxPool2d(2, ceil_mode=True)],
        )
        self.levels = nn.ModuleList(
            nn.Sequential(
                *resize,
                nn.Conv2d(width, channels, 1, bias=False),
                ChannelNorm(channels),
                nn.Conv2d(channels, channels, 3, padding=1, bias=False),
                ChannelNorm(channels),
            )
            for resize, width in zip(resizes, (quarter, half, inputs, inputs), strict=True)
        )

    def pad(self, images: Tensor) -> Tensor:
        """Images, (batch, 3, height, width), with zeros at the right and at the bottom up to a multiple of the
        stride."""
        # exports round a negative quotient towards 0, and have no remainder
        rows, columns = ((x + self.stride - 1) // self.stride * self.stride - x for x in images.shape[-2:])
        return F.pad(images, (0, columns, 0, rows))

    def forward(self, features: Tensor, size: tuple[int, int]) -> tuple[Tensor, ...]:
        """Compute the maps.

        Args:
            features: the backbone's last map of padded images, (batch, inputs, h, w).
            size: height and width of the images before they were padded.

        Returns:
            Maps of strides `stride / 4`, `stride / 2`, `stride` and `2 * stride`, (batch, channels, rows, columns):
            the images' height and width divided by the map's stride, rounded up.
        """
        maps = []
        for level, scale in zip(self.levels, SCALES, strict=True):
            rows, columns = ((x * scale + 2 * self.stride - 1) // (2 * self.stride) for x in size)
            maps.append(level(features)[..., :rows, :columns])
        return tuple(maps)


def _double(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    """A convolution that doubles height and width."""
    return nn.ConvTranspose2d(inputs, outputs, 2, stride=2)
