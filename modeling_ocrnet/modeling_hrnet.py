# SPDX-License-Identifier: Apache-2.0
"""HRNet (arXiv 1908.07919) as a transformers backbone.

Parameters have the names that the authors' code, timm and mmsegmentation share, so their weights load unchanged.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import BackboneMixin, GradientCheckpointingLayer, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import BackboneOutput
from transformers.utils import can_return_tuple

from .configuration_hrnet import HRNetConfig
from .gradient_checkpointing import BatchNormCheckpointingMixin


def batch_norm(config: HRNetConfig, channels: int, zero_init: bool = False) -> nn.BatchNorm2d:
    """Batch norm; with `zero_init` its weight starts at 0 instead of 1."""
    norm = nn.BatchNorm2d(channels, eps=config.batch_norm_eps, momentum=config.batch_norm_momentum)
    norm.zero_init = zero_init  # read by `_init_weights`
    return norm


def conv_bn(config: HRNetConfig, inputs: int, outputs: int, kernel: int, stride: int = 1, zero_init: bool = False):
    """Convolution without bias and batch norm, as an `nn.Sequential`."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, batch_norm(config, outputs, zero_init))


def conv_bn_relu(config: HRNetConfig, inputs: int, outputs: int, kernel: int, stride: int = 1):
    """The same with a ReLU."""
    return conv_bn(config, inputs, outputs, kernel, stride).append(nn.ReLU(inplace=True))


class HRNetBasicBlock(GradientCheckpointingLayer):
    """ResNet's block of two 3x3 convolutions: (batch, channels, h, w) to the same shape."""

    def __init__(self, config: HRNetConfig, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = batch_norm(config, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = batch_norm(config, channels, config.zero_init_residual)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        return F.relu(y + x, inplace=True)


class HRNetBottleneck(GradientCheckpointingLayer):
    """ResNet's 1x1, 3x3, 1x1 block: (batch, inputs, h, w) to (batch, 4 * channels, h, w)."""

    def __init__(self, config: HRNetConfig, inputs: int, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 1, bias=False)
        self.bn1 = batch_norm(config, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = batch_norm(config, channels)
        self.conv3 = nn.Conv2d(channels, 4 * channels, 1, bias=False)
        self.bn3 = batch_norm(config, 4 * channels, config.zero_init_residual)
        self.downsample = conv_bn(config, inputs, 4 * channels, 1) if inputs != 4 * channels else None

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)), inplace=True)


class HRNetModule(nn.Module):
    """Residual blocks on every branch, then an exchange: each branch becomes the sum of all branches.

    A coarser branch is upsampled after a 1x1 convolution; a finer one passes 3x3 convolutions with stride 2.
    """

    def __init__(self, config: HRNetConfig, branches: int, blocks: int):
        super().__init__()
        self.upsample, self.align_corners = config.fuse_upsample, config.align_corners
        channels = config.branch_channels[:branches]
        self.branches = nn.ModuleList(
            nn.Sequential(*(HRNetBasicBlock(config, width) for _ in range(blocks))) for width in channels
        )
        # fuse_layers[i][j] converts branch j to branch i; the diagonal holds identities
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(self._path(config, source, target) for source in range(branches))
            for target in range(branches)
        )

    @staticmethod
    def _path(config: HRNetConfig, source: int, target: int) -> nn.Module:
        """The layers from branch `source` to branch `target`. An upsampling follows if the target is finer."""
        before, after, zero_init = (
            config.branch_channels[source],
            config.branch_channels[target],
            config.zero_init_residual,
        )
        if source == target:
            return nn.Identity()
        if source > target:
            return conv_bn(config, before, after, 1, zero_init=zero_init)
        halvings = [conv_bn_relu(config, before, before, 3, stride=2) for _ in range(target - source - 1)]
        return nn.Sequential(*halvings, conv_bn(config, before, after, 3, stride=2, zero_init=zero_init))

    def _upsample(self, x: Tensor, ratio: int, size: torch.Size) -> Tensor:
        if self.upsample == "nearest":
            return F.interpolate(x, scale_factor=ratio, mode="nearest")[..., : size[0], : size[1]]
        if self.upsample == "scale_factor":
            x = F.interpolate(x, scale_factor=ratio, mode="bilinear", align_corners=self.align_corners)
            if x.shape[-2:] == size:
                return x
        return F.interpolate(x, size=size, mode="bilinear", align_corners=self.align_corners)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        features = [branch(x) for branch, x in zip(self.branches, features, strict=True)]
        fused = []
        for i, paths in enumerate(self.fuse_layers):
            total = None
            for j, (path, x) in enumerate(zip(paths, features, strict=True)):
                y = path(x)
                if j > i:
                    y = self._upsample(y, 2 ** (j - i), features[i].shape[-2:])
                total = y if total is None else total + y
            fused.append(F.relu(total))
        return fused


class HRNetPreTrainedModel(BatchNormCheckpointingMixin, PreTrainedModel):
    config: HRNetConfig
    base_model_prefix = "backbone"
    main_input_name = "pixel_values"
    input_modalities = ("image",)
    supports_gradient_checkpointing = True
    _no_split_modules = ["HRNetBottleneck", "HRNetModule"]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        """As mmsegmentation: convolutions by He initialisation (normal, fan out), batch norms with weight 1, bias 0."""
        super()._init_weights(module)
        if isinstance(module, nn.Conv2d):
            init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif getattr(module, "zero_init", False):
            init.zeros_(module.weight)


class HRNetBackbone(BackboneMixin, HRNetPreTrainedModel):
    """HRNetV2 without a head. It returns the branches named in `config.out_features`, finest first.

    Args:
        config ([`HRNetConfig`]): the architecture.
    """

    has_attentions = False

    def __init__(self, config: HRNetConfig):
        super().__init__(config)
        self.num_features = list(config.branch_channels)
        stem, wide = config.stem_channels, 4 * config.stage1_channels

        self.conv1 = nn.Conv2d(config.num_channels, stem, 3, stride=2, padding=1, bias=False)
        self.bn1 = batch_norm(config, stem)
        self.conv2 = nn.Conv2d(stem, stem, 3, stride=2, padding=1, bias=False)
        self.bn2 = batch_norm(config, stem)
        self.layer1 = nn.Sequential(
            *(
                HRNetBottleneck(config, wide if i else stem, config.stage1_channels)
                for i in range(config.stage_blocks[0])
            )
        )
        self.transition1 = self._transition(config, [wide], 2)
        self.stage2 = self._stage(config, 2)
        self.transition2 = self._transition(config, config.branch_channels[:2], 3)
        self.stage3 = self._stage(config, 3)
        self.transition3 = self._transition(config, config.branch_channels[:3], 4)
        self.stage4 = self._stage(config, 4)

        self.post_init()

    @staticmethod
    def _stage(config: HRNetConfig, branches: int) -> nn.Sequential:
        modules, blocks = config.stage_modules[branches - 1], config.stage_blocks[branches - 1]
        return nn.Sequential(*(HRNetModule(config, branches, blocks) for _ in range(modules)))

    @staticmethod
    def _transition(config: HRNetConfig, inputs: list[int], branches: int) -> nn.ModuleList:
        """One path per branch of the next stage: existing branches pass or change width, the new one is strided."""
        paths = nn.ModuleList()
        for i, width in enumerate(config.branch_channels[:branches]):
            if i >= len(inputs):
                paths.append(nn.Sequential(conv_bn_relu(config, inputs[-1], width, 3, stride=2)))
            elif inputs[i] != width:
                paths.append(conv_bn_relu(config, inputs[i], width, 3))
            else:
                paths.append(nn.Identity())
        return paths

    @can_return_tuple
    def forward(
        self,
        pixel_values: Tensor,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs,
    ) -> BackboneOutput:
        """Compute the feature maps.

        Args:
            pixel_values: normalised images, (batch, num_channels, height, width), any height and width.
            output_hidden_states: also return all four branches as `hidden_states` (`None`: as the config says).
            return_dict: `False` returns a plain tuple.

        Returns:
            [`~transformers.modeling_outputs.BackboneOutput`]; branch b of `feature_maps` (b from 0) is
            (batch, branch_channels[b], ceil(height / 2^(b+2)), ceil(width / 2^(b+2))).

        Raises:
            ValueError: if the images don't have `config.num_channels` channels.

        Example:

        >>> import torch
        >>> from modeling_ocrnet import HRNetBackbone, HRNetConfig

        >>> backbone = HRNetBackbone(HRNetConfig(out_features=["branch1", "branch4"])).eval()
        >>> feature_maps = backbone(torch.randn(1, 3, 64, 96)).feature_maps
        >>> [tuple(x.shape) for x in feature_maps]
        [(1, 18, 16, 24), (1, 144, 2, 3)]
        """
        if pixel_values.shape[1] != self.config.num_channels:
            raise ValueError(
                "Make sure that the channel dimension of the pixel values match with the one set in the configuration: "
                f"pixel_values has {pixel_values.shape[1]} channels, config.num_channels is {self.config.num_channels}."
            )
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        x = F.relu(self.bn1(self.conv1(pixel_values)), inplace=True)
        x = F.relu(self.bn2(self.conv2(x)), inplace=True)
        branches = [self.layer1(x)]
        for transition, stage in (
            (self.transition1, self.stage2),
            (self.transition2, self.stage3),
            (self.transition3, self.stage4),
        ):
            # the new branch starts from the coarsest one
            branches = [path(branches[min(i, len(branches) - 1)]) for i, path in enumerate(transition)]
            for module in stage:
                branches = module(branches)

        features = tuple(x for name, x in zip(self.stage_names, branches, strict=True) if name in self.out_features)
        return BackboneOutput(feature_maps=features, hidden_states=tuple(branches) if output_hidden_states else None)


__all__ = ["HRNetBackbone", "HRNetPreTrainedModel"]
