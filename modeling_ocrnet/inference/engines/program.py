"""OCRNet as a `torch.export` program for images of any size, the input of exporters and compilers."""

from __future__ import annotations

import copy
from typing import Any

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
# With these sizes, no two sizes of feature maps are equal by chance, as they would be for multiples of 32. Programs
# made of products work in tiles (`resizing_ocrnet.TILE`). Their example needs several: torch.export treats 1 as a
# constant.
_EXAMPLE, _EXAMPLE_FOR_PRODUCTS = (2, 3, 65, 101), (2, 3, 325, 421)


class _AnySizeModule(HRNetModule):
    """An [`HRNetModule`] without a branch that depends on sizes, because a program can't have one.

    The plain module skips the second resize if the sizes agree. Here it always runs, and changes nothing in that case.
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
    """Export the fused model as a program from `pixel_values`, (batch, 3, height, width), to `logits`. Batch, height
    and width are dynamic.

    Args:
        model: the model in eval mode; it stays as it is. The program has its precision and device.
        products: turn the heads' convolutions into matrix products, for runtimes with memory layouts of their own.

    Raises:
        UserError: if this torch can't export dynamic sizes, or the backbone can't be exported.
    """
    if (problem := program_problem()) is not None:
        raise UserError(problem)
    backbone: Any = model.config.backbone_config
    if getattr(backbone, "window_size", None):  # torch.export would go on without an end
        raise UserError(
            f"a network with the backbone {backbone.model_type!r} can't be exported: how its "
            "windows are padded depends on the image's size; PyTorch's engine runs it (--engine torch), and HRNets, "
            "ResNets, ConvNeXts and plain ViTs can be exported"
        )
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
        config: Any = model.config
        kind = config.custom_backbone or config.backbone_config.model_type
        if kind == HRNetConfig.model_type or is_bug(error):  # HRNet can be exported
            raise
        raise UserError(f"a network with the backbone {kind!r} can't be exported ({reason(error)})") from error
