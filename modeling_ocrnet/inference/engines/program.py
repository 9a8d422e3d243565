"""OCRNet as a program of tensor operations, for images of any size: what exporters and compilers take."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from ...common.compat import export_any_size, program_problem
from ...common.errors import UserError, is_bug, reason
from ...configuration_hrnet import HRNetConfig
from ...fusion_ocrnet import PixelConv2d, PixelLinear
from ...modeling_hrnet import HRNetModule
from ...modeling_ocrnet import OCRNetForSemanticSegmentation

INPUT, OUTPUT = "pixel_values", "logits"
# No two sizes of any feature map are equal by chance, as they'd be for a multiple of 32. What is made of products works
# in tiles (`resizing_ocrnet.TILE`), of which the example needs several: torch.export takes a 1 for a constant.
_EXAMPLE, _EXAMPLE_FOR_PRODUCTS = (2, 3, 65, 101), (2, 3, 325, 421)


class _AnySizeModule(HRNetModule):
    """An [`HRNetModule`] that doesn't ask whether sizes happen to agree: a program has no branches.

    The second resize, which the plain module skips where the sizes agree, changes nothing there.
    """

    def _upsample(self, x: Tensor, ratio: int, size: torch.Size) -> Tensor:
        if self.upsample == "scale_factor":
            height, width = x.shape[-2:]
            x = F.interpolate(
                x, size=(height * ratio, width * ratio), mode="bilinear", align_corners=self.align_corners
            )
            return F.interpolate(x, size=size, mode="bilinear", align_corners=self.align_corners)
        return super()._upsample(x, ratio, size)


class _Logits(nn.Module):
    def __init__(self, model: OCRNetForSemanticSegmentation):
        super().__init__()
        self.model = model

    def forward(self, pixel_values: Tensor) -> Tensor:
        return self.model(pixel_values).logits


def export_program(model: OCRNetForSemanticSegmentation, products: bool = False) -> ExportedProgram:
    """The fused model from `pixel_values` (batch, 3, height, width), all three of any size, to `logits`.

    Args:
        model: in eval mode; it stays as it is. The program has its precision and device.
        products: the heads' convolutions as matrix products, for runtimes that lay memory out themselves.

    Raises:
        UserError: where this torch can't make programs for any size, or the backbone isn't one for them.
    """
    if (problem := program_problem()) is not None:
        raise UserError(problem)
    fused = copy.deepcopy(model) if model.is_fused else model.fuse()
    for module in fused.modules():
        if type(module) is HRNetModule:
            module.__class__ = _AnySizeModule
        if isinstance(module, (PixelConv2d, PixelLinear)):
            module.use_matmul = products
    example = torch.zeros(_EXAMPLE_FOR_PRODUCTS if products else _EXAMPLE, dtype=fused.dtype, device=fused.device)
    sizes = {0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
    try:
        with torch.no_grad():
            return export_any_size(_Logits(fused), (example,), {INPUT: sizes})
    except Exception as error:
        kind = model.config.custom_backbone or model.config.backbone_config.model_type
        if kind == HRNetConfig.model_type or is_bug(error):  # ours can be exported
            raise
        raise UserError(f"a network over the backbone {kind!r} can't be made a program ({reason(error)})") from error
