# SPDX-License-Identifier: Apache-2.0
"""Configuration of the HRNet backbone (arXiv 1908.07919)."""

import math
from typing import Literal

from huggingface_hub.dataclasses import strict
from transformers import BackboneConfigMixin, PreTrainedConfig

# Widths and depths of the published variants; HR18s is "HRNetV2-W18-Small-v2".
_SMALL = {"stage_modules": [1, 1, 3, 2], "stage_blocks": [2, 2, 2, 2]}
_FULL = {"stage_modules": [1, 1, 4, 3], "stage_blocks": [4, 4, 4, 4]}
VARIANTS = {
    "hr18s": {"branch_channels": [18, 36, 72, 144], **_SMALL},
    "hr18": {"branch_channels": [18, 36, 72, 144], **_FULL},
    "hr32": {"branch_channels": [32, 64, 128, 256], **_FULL},
    "hr48": {"branch_channels": [48, 96, 192, 384], **_FULL},
    "hr64": {"branch_channels": [64, 128, 256, 512], **_FULL},
}


@strict
class HRNetConfig(BackboneConfigMixin, PreTrainedConfig):
    r"""HRNetV2: four parallel branches at strides 4, 8, 16 and 32, which exchange features after every module.

    Args:
        num_channels (`int`, defaults to 3): Number of channels of the image.
        stem_channels (`int`, defaults to 64): Channels of the two stride-2 convolutions.
        stage1_channels (`int`, defaults to 64): Inner channels of stage 1's bottlenecks. Their output has 4 times as
            many.
        branch_channels (`list[int]`, defaults to `[18, 36, 72, 144]`): Channels of the four branches, finest first.
        stage_modules (`list[int]`, defaults to `[1, 1, 4, 3]`): Exchange modules in each stage (stage 1 has one).
        stage_blocks (`list[int]`, defaults to `[4, 4, 4, 4]`): Residual blocks per branch in each module of a stage.
        fuse_upsample (`"scale_factor" | "size" | "nearest"`, defaults to `"scale_factor"`):
            How a coarse branch is upsampled to a finer one. `"scale_factor"`: bilinear by the ratio of the strides,
            then a second resize if the result misses the finer branch's size (mmsegmentation). `"size"`: bilinear,
            directly to the finer branch's size (the authors' segmentation code). `"nearest"`: nearest by the ratio
            (the classification networks). The first two differ if the image's size isn't a multiple of 32.
        align_corners (`bool`, defaults to `False`): `align_corners` of every bilinear resize; `True` in the authors'
            code.
        zero_init_residual (`bool`, defaults to `False`): Initialise the last batch norm's weight to 0 in every
            residual block and every exchange path, so that they add 0 to a branch at first. Networks trained from
            scratch then learn more in the first steps.
        batch_norm_eps (`float`, defaults to 1e-5): Epsilon of the batch norms.
        batch_norm_momentum (`float`, defaults to 0.1): Momentum of the running statistics.
        out_features / out_indices: The branches to return, from `"branch1"` (stride 4) to `"branch4"` (stride 32);
            all four by default.

    Raises:
        ValueError: if a list doesn't hold four positive numbers, or a name isn't one of the above.
    """

    model_type = "hrnet"

    num_channels: int = 3
    stem_channels: int = 64
    stage1_channels: int = 64
    branch_channels: list[int] | tuple[int, ...] = (18, 36, 72, 144)
    stage_modules: list[int] | tuple[int, ...] = (1, 1, 4, 3)
    stage_blocks: list[int] | tuple[int, ...] = (4, 4, 4, 4)
    fuse_upsample: Literal["scale_factor", "size", "nearest"] = "scale_factor"
    align_corners: bool = False
    zero_init_residual: bool = False
    batch_norm_eps: float = 1e-5
    batch_norm_momentum: float = 0.1

    def __post_init__(self, **kwargs):
        self.stage_names = [f"branch{i + 1}" for i in range(len(self.branch_channels))]
        out_features, out_indices = kwargs.pop("out_features", None), kwargs.pop("out_indices", None)
        if out_features is None and out_indices is None:
            out_features = list(self.stage_names)
        self.set_output_features_output_indices(out_features=out_features, out_indices=out_indices)
        self.branch_channels = list(self.branch_channels)
        self.stage_modules = list(self.stage_modules)
        self.stage_blocks = list(self.stage_blocks)
        super().__post_init__(**kwargs)

    def validate_stages(self):
        """Check that this network can be built."""
        for name in ("branch_channels", "stage_modules", "stage_blocks"):
            values = getattr(self, name)
            if len(values) != 4 or min(values) < 1:
                raise ValueError(f"{name} must be four positive numbers, got {values}")
            if name != "branch_channels" and max(values) > 100:  # all are built before a weight is read
                raise ValueError(f"{name} must be at most 100 each, got {values}")
        if self.stage_modules[0] != 1:
            raise ValueError(f"stage 1 has one module; stage_modules starts with {self.stage_modules[0]}")

    def validate_batch_norms(self):
        """Check the batch norms' epsilon and momentum."""
        if not 0 < self.batch_norm_eps < math.inf:
            raise ValueError(f"batch_norm_eps must be positive, and finite, got {self.batch_norm_eps}")
        if not 0 <= self.batch_norm_momentum <= 1:
            raise ValueError(f"batch_norm_momentum must be from 0 to 1, got {self.batch_norm_momentum}")
