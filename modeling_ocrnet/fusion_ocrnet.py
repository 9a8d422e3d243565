# SPDX-License-Identifier: Apache-2.0
"""OCRNet rearranged for inference: the same function of the image, computed with fewer operations.

Everything here is exact except for rounding.

1. A batch norm in eval mode is affine, so it folds into the convolution before it:
   g (Wx + b - mean) / s + beta = (g W / s) x + g (b - mean) / s + beta.
2. A head's first convolution reads maps that are resized and concatenated: see `resizing_ocrnet.py`.
3. A pixel's attention weights sum to 1. So the out projection (a convolution with its batch norm folded in) can be
   applied to the values of K regions instead of all pixels: W (sum_k w_k v_k) + b = sum_k w_k (W v_k + b).
4. A 1x1 convolution of two concatenated maps is the sum of two convolutions, so no map has to be concatenated.
5. Inside the heads, pixels are rows, (batch, h * w, channels), so the attention needs no transpose. The heads' inputs
   and outputs remain maps, (batch, channels, h, w). These are views of the same memory, which is channels_last.

`modeling_ocrnet.py` imports this file, so this file can't import its classes. It uses the modules' attributes instead.
"""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .backbone_ocrnet import feature_channels
from .loss_ocrnet import autocast_disabled, upcast_to_float32
from .modeling_hrnet import HRNetBackbone
from .resizing_ocrnet import FINE_MAPS, TILE, mix_and_resize, resize_concat, split_weight


def fuse(model: nn.Module) -> nn.Module:
    """Copy an [`OCRNetForSemanticSegmentation`] and replace its modules by fused ones with the same interface.

    Args:
        model: an OCRNet in any mode; it stays as it is.

    Returns:
        The copy, in eval mode, in the model's precision and in channels_last memory. Its `is_fused` is `True`.

    Raises:
        RuntimeError: if the model has an adapter (peft) that isn't merged into its weights.

    Example:

    >>> import torch
    >>> from modeling_ocrnet import OCRNetConfig, OCRNetForSemanticSegmentation
    >>> from modeling_ocrnet.fusion_ocrnet import fuse

    >>> model = OCRNetForSemanticSegmentation(OCRNetConfig.from_variant("hr18s", num_labels=19)).eval()
    >>> fused = fuse(model)  # the same as model.fuse()
    >>> images = torch.randn(1, 3, 64, 128)
    >>> with torch.no_grad():
    ...     expected, logits = model(images).logits, fused(images).logits
    >>> bool((logits - expected).abs().max() < 1e-3 * expected.abs().max())
    True
    """
    _check_no_adapter(model)
    precision = torch.promote_types(model.dtype, torch.float32)
    fused = copy.deepcopy(model).to(precision).eval().requires_grad_(False)  # fold before rounding
    config, widths = fused.config, feature_channels(fused.backbone, fused.config)
    if isinstance(fused.backbone, HRNetBackbone):
        fold_batch_norms(fused.backbone)
    fused.auxiliary_head = FusedSoftObjectRegions(
        fused.auxiliary_head, [widths[i] for i in config.auxiliary_in_indices]
    )
    fused.ocr_head = FusedOCRHead(fused.ocr_head, [widths[i] for i in config.ocr_in_indices])
    fused.is_fused = True
    return fused.to(model.dtype, memory_format=torch.channels_last).eval().requires_grad_(False)


def _check_no_adapter(model: nn.Module) -> None:
    for name, module in model.named_modules():
        if hasattr(module, "adapter_layer_names"):  # of all that peft puts in a layer's place, for any kind of adapter
            raise RuntimeError(
                f"{name} has an adapter, and only plain layers can be fused: merge the adapter first: "
                "model.merge_and_unload() of the PeftModel, then fuse() what it returns"
            )


def fold_batch_norms(module: nn.Module) -> nn.Module:
    """Fold an HRNet's batch norms, in place: `bnN` into `convN`; in an `nn.Sequential`, into the layer before it."""
    for parent in list(module.modules()):
        children = dict(parent.named_children())
        if isinstance(parent, nn.Sequential):
            pairs = list(zip(children, list(children)[1:], strict=False))
        else:
            pairs = [(name, name.replace("conv", "bn")) for name in children]
        for conv, norm in pairs:
            if isinstance(children[conv], nn.Conv2d) and isinstance(children.get(norm), nn.BatchNorm2d):
                setattr(parent, conv, fuse_conv_bn_eval(children[conv], children[norm]))
                setattr(parent, norm, nn.Identity())
    return module


class PixelConv2d(nn.Module):
    """A convolution that returns rows of pixels: (batch, inputs, h, w) to (batch, h * w, outputs).

    In channels_last memory, a convolution's output already has this layout. Runtimes with memory layouts of their own
    would copy it. For them, `use_matmul` turns the convolution into [`im2col`] and a matrix product.

    Args:
        weight: (outputs, inputs, kernel_size, kernel_size), kernel_size odd.
        bias: (outputs,), or `None`.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None):
        super().__init__()
        self.weight, self.bias, self.use_matmul = _parameter(weight), _parameter(bias), False

    def forward(self, x: Tensor) -> Tensor:
        outputs, inputs, kernel_size, _ = self.weight.shape
        if self.use_matmul and inputs < outputs:  # otherwise im2col writes more than a copy of the output would
            return F.linear(im2col(x, kernel_size), self.weight.permute(0, 3, 2, 1).flatten(1), self.bias)
        return to_rows(F.conv2d(x, self.weight, self.bias, padding=kernel_size // 2))


class PixelLinear(nn.Module):
    """A 1x1 convolution of rows of pixels: (batch, h * w, inputs) to (batch, h * w, outputs).

    It runs as a convolution by default. On a CPU, PyTorch uses another library for matrix products, which can be half
    as fast in float32. `use_matmul` turns it into a matrix product.

    Args:
        weight: (outputs, inputs, 1, 1).
        bias: (outputs,), or `None`.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None):
        super().__init__()
        self.weight, self.bias, self.use_matmul = _parameter(weight), _parameter(bias), False

    def forward(self, x: Tensor) -> Tensor:
        if self.use_matmul:
            return F.linear(x, self.weight.flatten(1), self.bias)
        image = x.transpose(1, 2).unsqueeze(3)  # (batch, inputs, h * w, 1)
        return F.conv2d(image, self.weight, self.bias).squeeze(3).transpose(1, 2)


class RegionLinear(nn.Module):
    """A 1x1 convolution of regions, which are columns: (batch, inputs, classes) to (batch, outputs, classes).

    Args:
        weight: (outputs, inputs, 1, 1).
        bias: (outputs,).
    """

    def __init__(self, weight: Tensor, bias: Tensor):
        super().__init__()
        self.weight, self.bias = _parameter(weight), _parameter(bias)

    def forward(self, x: Tensor) -> Tensor:
        # transposed before the bias is added: NNCF would otherwise see a layer whose weight is the second factor
        return ((self.weight.flatten(1) @ x).transpose(1, 2) + self.bias).transpose(1, 2)


def _parameter(x: Tensor | None) -> nn.Parameter | None:
    return None if x is None else nn.Parameter(x.detach().clone())


def to_rows(x: Tensor) -> Tensor:
    """(batch, channels, h, w) to (batch, h * w, channels): a view of channels_last memory."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)


def to_map(rows: Tensor, size: tuple[int, int]) -> Tensor:
    """(batch, h * w, channels) to (batch, channels, h, w), a view."""
    return rows.transpose(1, 2).unflatten(2, size)


def im2col(x: Tensor, kernel_size: int) -> Tensor:
    """The inputs of a convolution at each pixel, as rows: (batch, channels, h, w) to (batch, h * w, kernel_size *
    kernel_size * channels), the kernel's horizontal axis first.

    Rows and columns are gathered, not sliced, because 8-bit exports quantize before a gather but after a slice.
    """
    batch, channels, height, width = x.shape
    x, padding = x.permute(0, 2, 3, 1), kernel_size // 2
    if kernel_size > 1:
        x = F.pad(x.flatten(2), (0, 0, padding, padding))  # (batch, h + kernel_size - 1, w * channels)
        rows = torch.arange(height, device=x.device)
        x = torch.cat([x.index_select(1, rows + i).reshape(-1, channels) for i in range(kernel_size)], dim=1)
        x = F.pad(x.reshape(batch * height, width, -1), (0, 0, padding, padding))
        columns = torch.arange(width, device=x.device)
        x = torch.cat([x.index_select(1, columns + i) for i in range(kernel_size)], dim=2)
    return x.reshape(batch, height * width, -1)


class FusedProjection(nn.Module):
    """A head's first layer together with the resizes before it (step 2).

    Args:
        layer: convolution, norm and activation, in eval mode.
        widths: channels of each map.
        align_corners: `align_corners` of the resizes.
    """

    def __init__(self, layer: nn.Module, widths: list[int], align_corners: bool):
        super().__init__()
        conv, self.act = _folded(layer)
        fine, coarse = split_weight(conv.weight.detach(), widths)
        self.fine, self.coarse = PixelConv2d(fine, conv.bias), nn.ParameterList(x.clone() for x in coarse)
        self.align_corners = align_corners

    def forward(self, features: list[Tensor]) -> Tensor:
        """Feature maps to rows of pixels, (batch, h * w, channels), at the first map's size."""
        pixels = self.fine(resize_concat(features[:FINE_MAPS], self.align_corners))
        if self.coarse:
            size = features[0].shape[-2:]
            # the number of tiles depends on the size: a PyTorch program with tiles would refuse sizes with one tile
            tile = None if torch.compiler.is_compiling() and not self.fine.use_matmul else TILE
            coarse = mix_and_resize(features[FINE_MAPS:], list(self.coarse), size, self.align_corners, tile)
            pixels = pixels.add_(coarse.reshape(pixels.shape))
        return self.act(pixels)


class FusedSoftObjectRegions(nn.Module):
    """`SoftObjectRegions` for inference."""

    def __init__(self, head: nn.Module, widths: list[int]):
        super().__init__()
        self.projection = FusedProjection(head.projection, widths, head.align_corners)
        self.classifier = PixelLinear(head.classifier.weight, head.classifier.bias)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Feature maps to (batch, classes, h, w)."""
        return to_map(self.classifier(self.projection(features)), features[0].shape[-2:])


def gather_regions(pixels: Tensor, region_logits: Tensor) -> Tensor:
    """`SpatialGather` of rows: (batch, h * w, channels) and (batch, classes, h, w) to (batch, channels, classes)."""
    with autocast_disabled(pixels):
        regions = upcast_to_float32(region_logits.flatten(2)).softmax(dim=2)  # over space: (batch, classes, h * w)
        if pixels.dtype == torch.bfloat16:  # its matrix products are accumulated in float32
            return (regions.bfloat16() @ pixels).transpose(1, 2)
        return (regions @ upcast_to_float32(pixels)).to(pixels.dtype).transpose(1, 2)


class FusedObjectAttention(nn.Module):
    """`ObjectAttention` for inference (step 3)."""

    def __init__(self, attention: nn.Module):
        super().__init__()
        self.query = nn.Sequential(*(_linear(PixelLinear, x) for x in attention.query))
        self.key = nn.Sequential(*(_linear(RegionLinear, x) for x in attention.key))
        self.value = _linear(RegionLinear, attention.value)
        self.out, self.act = _linear(RegionLinear, attention.out)

    def forward(self, pixels: Tensor, regions: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels (batch, h * w, channels) and regions (batch, channels, classes) to the context, in the pixels' shape,
        and the attention, (batch, h * w, classes)."""
        query = self.query(pixels)
        key = self.key(regions) * query.shape[-1] ** -0.5  # (batch, keys, classes)
        value = self.out(self.value(regions)).transpose(1, 2)  # (batch, classes, channels)
        attention = upcast_to_float32(query @ key).softmax(dim=-1)  # over classes
        context = attention.to(value.dtype) @ value
        return self.act(context.flatten(0, 1)).reshape(pixels.shape), attention


class FusedOCRHead(nn.Module):
    """`OCRHead` for inference."""

    def __init__(self, head: nn.Module, widths: list[int]):
        super().__init__()
        self.projection = FusedProjection(head.projection, widths, head.align_corners)
        self.attention = FusedObjectAttention(head.attention)
        fusion, self.act = _folded(head.fusion)
        of_context, of_pixels = fusion.weight.detach().chunk(2, dim=1)  # step 4
        self.context, self.pixels = PixelLinear(of_context, fusion.bias), PixelLinear(of_pixels)
        self.classifier = PixelLinear(head.classifier.weight, head.classifier.bias)

    def forward(self, features: list[Tensor], region_logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `OCRHead`: feature maps and region logits, (batch, classes, h, w), to logits, (batch, classes, h, w),
        regions, (batch, channels, classes, 1), and attention, (batch, h * w, classes)."""
        pixels = self.projection(features)
        regions = gather_regions(pixels, region_logits)
        context, attention = self.attention(pixels, regions)
        augmented = self.act(self.context(context).add_(self.pixels(pixels)))
        return to_map(self.classifier(augmented), features[0].shape[-2:]), regions.unsqueeze(3), attention


def _folded(layer: nn.Module) -> nn.Sequential:
    """The convolution with its batch norm folded in, and the activation, in place if possible."""
    act = nn.ReLU(inplace=True) if isinstance(layer.act, nn.ReLU) else layer.act
    return nn.Sequential(fuse_conv_bn_eval(layer.conv, layer.norm), act)


def _linear(kind: type[PixelLinear] | type[RegionLinear], layer: nn.Module) -> nn.Sequential:
    """The same for a 1x1 convolution, as a layer for rows of pixels or for regions."""
    conv, act = _folded(layer)
    return nn.Sequential(kind(conv.weight, conv.bias), act)


__all__ = ["fuse"]
