# SPDX-License-Identifier: Apache-2.0
"""OCRNet's backbone: HRNet, any other of transformers or timm, or a module of the user's."""

from torch import Tensor, nn
from transformers import AutoBackbone

from .configuration_ocrnet import OCRNetConfig
from .feature_pyramid_ocrnet import SCALES
from .modeling_hrnet import HRNetBackbone


def build_backbone(config: OCRNetConfig) -> nn.Module:
    """Build the backbone of a config.

    Raises:
        ValueError: if the model was built with a backbone of the user's, which the config can't describe.
    """
    if config.custom_backbone is not None:
        name = config.custom_backbone
        raise ValueError(f"the model was built with your own backbone: pass it again, backbone={name}(...)")
    # compared by model_type: code from the Hub has an HRNetConfig class of its own
    if config.backbone_config.model_type == "hrnet":
        return HRNetBackbone(config.backbone_config)
    if config.backbone_config.model_type == "timm_backbone" and config.pyramid_stride is not None:
        # timm's ViTs take images of one size otherwise
        return AutoBackbone.from_config(config.backbone_config, dynamic_img_size=True)
    return AutoBackbone.from_config(config.backbone_config)


def feature_channels(backbone: nn.Module, config: OCRNetConfig) -> list[int]:
    """The number of channels of each feature map that the heads can read: the backbone's, or its pyramid's.

    Raises:
        ValueError: if it doesn't declare them, or the config's `*_in_indices` aren't indices of them.
    """
    name = type(backbone).__name__
    if not isinstance(backbone, nn.Module) or not hasattr(backbone, "channels"):
        raise ValueError(f"backbone is a {name}, expected an nn.Module whose `channels` are those of its feature maps")
    channels = list(backbone.channels)
    if config.pyramid_stride is not None:
        name, channels = f"{name}'s pyramid", [config.pyramid_channels] * len(SCALES)
    for field in ("auxiliary_in_indices", "ocr_in_indices"):
        indices = getattr(config, field)
        if not set(indices) <= set(range(-len(channels), len(channels))):
            raise ValueError(
                f"{field} is {indices}, but {name} has {len(channels)} feature maps, with {channels} channels: choose "
                f"indices from 0 to {len(channels) - 1}"
            )
    return channels


def checked_maps(backbone: nn.Module, maps: list[Tensor]) -> tuple[Tensor, ...]:
    """The output of a user's backbone: feature maps, (batch, channels, h, w) each.

    Raises:
        ValueError: if it is something else, or they haven't the channels that the backbone declares.
    """
    listed = isinstance(maps, (list, tuple)) and all(isinstance(x, Tensor) and x.ndim == 4 for x in maps)
    found = [x.shape[1] for x in maps] if listed else f"a {type(maps).__name__}"
    if found != list(backbone.channels):
        raise ValueError(
            f"{type(backbone).__name__} returned {found}, expected a list of feature maps, (batch, channels, h, w), "
            f"with the channels that its `channels` declares: {list(backbone.channels)}"
        )
    return tuple(maps)
