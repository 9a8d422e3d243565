"""OCRNet rearranged for inference: the same function of the image, computed with fewer operations.

Everything here is exact but for rounding.

1. Batch norm in eval mode is affine, and folds into the convolution before it:
   g (Wx + b - mean) / s + beta = (g W / s) x + g (b - mean) / s + beta.
2. A head's first convolution reads maps resized to the finest one's size and concatenated: `resizing_ocrnet.py`.
3. The attention's weights of a pixel sum to 1, so that its out projection (a convolution with its batch norm folded)
   may act on the values of K regions instead of on all pixels: W (sum_k w_k v_k) + b = sum_k w_k (W v_k + b).
4. A 1x1 convolution of two concatenated maps is the sum of two: nothing has to be concatenated.
5. Heads keep pixels as rows, (batch, h * w, channels), so that the attention transposes nothing.
"""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from transformers.models.auto.modeling_auto import MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES

from .loss_ocrnet import full_precision
from .modeling_hrnet import HRNetBackbone
from .modeling_ocrnet import (
    ConvNormAct,
    ObjectAttention,
    OCRHead,
    OCRNetForSemanticSegmentation,
    OCRNetPreTrainedModel,
    SoftObjectRegions,
    gather_pixels,
)
from .resizing_ocrnet import FINE, TILE, mix_and_resize, resize_concat, split_weight


def fold_batch_norms(module: nn.Module) -> nn.Module:
    """Fold each batch norm of an HRNet, in place: `bnN` into `convN`, in an `nn.Sequential` into the one before it."""
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


class PixelConvolution(nn.Module):
    """A convolution whose result is a list of pixels: (batch, inputs, h, w) to (batch, h * w, outputs).

    In channels_last memory that is what a convolution writes. Runtimes that keep memory's order to themselves would
    copy it: `as_product` makes it a matrix product, before which each pixel's neighbours are written beside it.

    Args:
        weight: (outputs, inputs, taps, taps), taps odd.
        bias: (outputs,), if there is one.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None):
        super().__init__()
        self.weight = nn.Parameter(weight.detach().clone())
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone())
        self.as_product = False

    def forward(self, x: Tensor) -> Tensor:
        outputs, inputs, taps, _ = self.weight.shape
        if self.as_product and inputs < outputs:  # what is written is larger than a copy of the result otherwise
            return F.linear(neighbours(x, taps), self.weight.permute(0, 3, 2, 1).flatten(1), self.bias)
        x = F.conv2d(x, self.weight, self.bias, padding=taps // 2)
        return x.permute(0, 2, 3, 1).flatten(1, 2)


class PixelLinear(PixelConvolution):
    """A 1x1 convolution of a list of pixels, (batch, pixels, inputs) to (batch, pixels, outputs).

    By default a convolution indeed: on a CPU, PyTorch's matrix products are another library's than its convolutions,
    and in float32 can be half as fast.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.as_product:
            return F.linear(x, self.weight.flatten(1), self.bias)
        image = x.transpose(1, 2).unsqueeze(3)  # (batch, inputs, pixels, 1)
        return F.conv2d(image, self.weight, self.bias).squeeze(3).transpose(1, 2)


class RegionLinear(PixelConvolution):
    """A 1x1 convolution of a few vectors that stand beside each other, (batch, inputs, n) to (batch, outputs, n)."""

    def forward(self, x: Tensor) -> Tensor:
        # the bias isn't added at once: NNCF would take both for a layer whose weight is the second factor
        return ((self.weight.flatten(1) @ x).transpose(1, 2) + self.bias).transpose(1, 2)


def neighbours(x: Tensor, taps: int) -> Tensor:
    """What a convolution's taps read at each pixel: (batch, channels, h, w) to (batch, h * w, taps * taps * channels),
    the horizontal tap first. (Gathered, not sliced: 8-bit exports quantize before a gather, but after a slice.)"""
    batch, channels, height, width = x.shape
    x = x.permute(0, 2, 3, 1)
    if taps > 1:
        x = F.pad(x.flatten(2), (0, 0, taps // 2, taps // 2))  # (batch, h + taps - 1, w * channels)
        rows = torch.arange(height, device=x.device)
        x = torch.cat([x.index_select(1, rows + i).reshape(-1, channels) for i in range(taps)], dim=1)
        x = F.pad(x.reshape(batch * height, width, -1), (0, 0, taps // 2, taps // 2))
        columns = torch.arange(width, device=x.device)
        x = torch.cat([x.index_select(1, columns + i) for i in range(taps)], dim=2)
    return x.reshape(batch, height * width, -1)


class FusedResizedConvNormAct(nn.Module):
    """[`ResizedConvNormAct`] for inference, its weight split once.

    Args:
        layer: the layer, in eval mode.
        widths: channels of each map.
        align_corners: of the resizes.
    """

    def __init__(self, layer: ConvNormAct, widths: list[int], align_corners: bool):
        super().__init__()
        conv, self.act = _folded(layer)
        fine, coarse = split_weight(conv.weight.detach(), widths)
        self.fine, self.coarse = PixelConvolution(fine, conv.bias), nn.ParameterList(x.clone() for x in coarse)
        self.align_corners = align_corners

    def forward(self, features: list[Tensor]) -> Tensor:
        """Feature maps to pixels, (batch, h * w, channels) of the first one's size."""
        pixels = self.fine(resize_concat(features[:FINE], self.align_corners))
        if self.coarse:
            size = features[0].shape[-2:]
            # how many tiles there are is a formula of the size, and programs of PyTorch would refuse sizes with one
            tile = None if torch.compiler.is_compiling() and not self.fine.as_product else TILE
            coarse = mix_and_resize(features[FINE:], list(self.coarse), size, self.align_corners, tile)
            pixels = pixels.add_(coarse.reshape(pixels.shape))
        return self.act(pixels)


class FusedSoftObjectRegions(nn.Module):
    """[`SoftObjectRegions`] for inference; its scores are a list of pixels, (batch, h * w, classes)."""

    def __init__(self, head: SoftObjectRegions, widths: list[int], align_corners: bool):
        super().__init__()
        self.projection = FusedResizedConvNormAct(head.projection, widths, align_corners)
        self.classifier = PixelLinear(head.classifier.weight, head.classifier.bias)

    def forward(self, features: list[Tensor]) -> Tensor:
        return self.classifier(self.projection(features))


class FusedObjectAttention(nn.Module):
    """[`ObjectAttention`] for inference (step 3)."""

    def __init__(self, attention: ObjectAttention):
        super().__init__()
        self.query = nn.Sequential(*(_linear(PixelLinear, x) for x in attention.query))
        self.key = nn.Sequential(*(_linear(RegionLinear, x) for x in attention.key))
        self.value = _linear(RegionLinear, attention.value)
        self.out, self.act = _linear(RegionLinear, attention.out)

    def forward(self, pixels: Tensor, regions: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels (batch, h * w, channels) and regions (batch, channels, classes) to the context, of the pixels' shape,
        and the attention (batch, h * w, classes)."""
        query = self.query(pixels)
        key = self.key(regions) * query.shape[-1] ** -0.5  # (batch, keys, classes)
        value = self.out(self.value(regions)).transpose(1, 2)  # (batch, classes, channels)
        attention = full_precision(query @ key).softmax(dim=-1)  # over classes
        context = attention.to(value.dtype) @ value
        return self.act(context.flatten(0, 1)).reshape(pixels.shape), attention


class FusedOCRHead(nn.Module):
    """[`OCRHead`] for inference."""

    def __init__(self, head: OCRHead, widths: list[int], align_corners: bool):
        super().__init__()
        self.projection = FusedResizedConvNormAct(head.projection, widths, align_corners)
        self.attention = FusedObjectAttention(head.attention)
        fusion, self.act = _folded(head.fusion)
        of_context, of_pixels = fusion.weight.detach().chunk(2, dim=1)  # step 4
        self.context, self.pixels = PixelLinear(of_context, fusion.bias), PixelLinear(of_pixels)
        self.classifier = PixelLinear(head.classifier.weight, head.classifier.bias)

    def forward(self, features: list[Tensor], region_logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Feature maps and (batch, h * w, classes) to logits of that shape, regions and attention."""
        pixels = self.projection(features)
        regions = gather_pixels(pixels, region_logits)
        context, attention = self.attention(pixels, regions)
        return self.classifier(self.act(self.context(context).add_(self.pixels(pixels)))), regions, attention


class FusedOCRNet(OCRNetForSemanticSegmentation):
    """An OCRNet that only infers; [`OCRNetForSemanticSegmentation.fuse`] makes it.

    Raises:
        RuntimeError: where it is to be trained or saved.
    """

    def __init__(self, model: OCRNetForSemanticSegmentation):
        OCRNetPreTrainedModel.__init__(self, copy.deepcopy(model.config))
        config, precision = self.config, torch.promote_types(model.dtype, torch.float32)
        source = copy.deepcopy(model).to(precision).eval().requires_grad_(False)  # folded before it is rounded
        widths = source.backbone.channels
        self.backbone = source.backbone
        if isinstance(self.backbone, HRNetBackbone):
            fold_batch_norms(self.backbone)
        auxiliary, ocr = ([widths[i] for i in x] for x in (config.auxiliary_in_indices, config.ocr_in_indices))
        self.auxiliary_head = FusedSoftObjectRegions(source.auxiliary_head, auxiliary, config.align_corners)
        self.ocr_head = FusedOCRHead(source.ocr_head, ocr, config.align_corners)
        self.to(model.dtype, memory_format=torch.channels_last).eval().requires_grad_(False)

    def fuse(self) -> "FusedOCRNet":
        return self

    def segment(self, features: list[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        region_logits, logits, regions, attention = super().segment(features)
        size = features[self.config.ocr_in_indices[0]].shape[-2:]
        region_logits, logits = (x.transpose(1, 2).unflatten(2, size) for x in (region_logits, logits))
        return region_logits, logits, regions.unsqueeze(3), attention

    def train(self, mode: bool = True) -> "FusedOCRNet":
        if mode:
            raise RuntimeError("a fused OCRNet can't be trained: train the model it was made from, and fuse that again")
        return super().train(False)

    def save_pretrained(self, *args, **kwargs):
        raise RuntimeError(
            "a fused OCRNet can't be saved: save the model it was made from, and call fuse() after loading"
        )


def _folded(layer: ConvNormAct) -> nn.Sequential:
    """The convolution with its batch norm folded in, and the activation, in place where that can be."""
    act = nn.ReLU(inplace=True) if isinstance(layer.act, nn.ReLU) else layer.act
    return nn.Sequential(fuse_conv_bn_eval(layer.conv, layer.norm), act)


def _linear(kind: type[PixelConvolution], layer: ConvNormAct) -> nn.Sequential:
    """The same of a 1x1 convolution, for a list of pixels or for regions."""
    conv, act = _folded(layer)
    return nn.Sequential(kind(conv.weight, conv.bias), act)


# pipeline("image-segmentation") logs an error for a class whose name it doesn't find here
MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES[FusedOCRNet.config_class.model_type] = (
    OCRNetForSemanticSegmentation.__name__,
    FusedOCRNet.__name__,
)

__all__ = ["FusedOCRNet"]
