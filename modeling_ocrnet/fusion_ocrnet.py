"""OCRNet rearranged for inference: the same function of the image, computed with fewer operations.

Everything here is exact but for rounding; x_b is the backbone's feature map b, W_b the part of a weight that reads it.

1. Batch norm in eval mode is affine, and folds into the convolution before it:
   g (Wx + b - mean) / s + beta = (g W / s) x + g (b - mean) / s + beta.
2. A head's first convolution reads maps resized to the finest one's size and concatenated, which makes it a sum:
   conv(cat_b resize(x_b)) = sum_b conv_b(resize(x_b)). A bilinear resize treats rows and columns one after the other,
   resize(x) = C(R(x)), and acts on positions alone; a convolution's taps mix channels, then shift: tap d along the
   width is S_d W_d, where S_d moves columns by d and puts 0 where the image ends. What acts on columns commutes with
   what acts on channels and rows, so conv_b(C(R(x))) = sum_d (S_d C) W_d(R(x)): a convolution at the *coarse* width by
   a kernel one column wide, then one matrix [S_d C]_d for all columns, (width, coarse width * taps).
3. The attention's weights of a pixel sum to 1, so that its out projection (a convolution with its batch norm folded)
   may act on the values of K regions instead of on all pixels: W (sum_k w_k v_k) + b = sum_k w_k (W v_k + b).
4. A 1x1 convolution of two concatenated maps is the sum of two: nothing has to be concatenated.
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
    gather_regions,
    resize_concat,
)

# So many maps are resized before the convolution, as in the plain model: the finest, and the one of half its size, for
# which the matrix of step 2 would cost more than the narrower convolution saves.
FINE = 2


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


def column_matrix(coarse: int, width: int, taps: int, align_corners: bool, like: Tensor) -> Tensor:
    """The matrix [S_d C]_d of step 2, (width, coarse * taps): a linear resize of columns, then a shift for each tap."""
    unit = torch.eye(coarse, dtype=like.dtype, device=like.device)
    resize = F.interpolate(unit[None], size=width, mode="linear", align_corners=align_corners)[0]  # (coarse, width)
    # unfold: column x + d - taps // 2 for each tap d, and zeros beyond the border
    shifted = F.pad(resize, (taps // 2, taps // 2)).unfold(1, taps, 1)  # (coarse, width, taps)
    return shifted.transpose(0, 1).flatten(1).to(like.dtype)  # autocast resizes in float32


class ResizedConvNormAct(nn.Module):
    """A [`ConvNormAct`] that reads feature maps of several sizes, as if resized to the first one's and concatenated.

    Args:
        layer: the layer, in eval mode.
        widths: channels of each map.
        align_corners: of the resizes.
    """

    def __init__(self, layer: ConvNormAct, widths: list[int], align_corners: bool):
        super().__init__()
        conv, self.act = _folded(layer)
        self.taps, self.align_corners = conv.kernel_size[0], align_corners
        weights = conv.weight.detach().split([sum(widths[:FINE]), *widths[FINE:]], dim=1)
        self.fine = _convolution(weights[0], conv.bias)
        # output channel c and tap d along the width become channel d * channels + c
        self.coarse = nn.ModuleList(
            _convolution(weight.permute(3, 0, 1, 2).flatten(0, 1).unsqueeze(3)) for weight in weights[1:]
        )

    def forward(self, features: list[Tensor]) -> Tensor:
        fine = resize_concat(features[:FINE], list(range(len(features[:FINE]))), self.align_corners)
        fine = self.fine(fine)
        batch, _, height, width = fine.shape
        total = fine.permute(0, 2, 3, 1).flatten(0, 1)  # (batch*h, w, channels), no copy in channels_last memory
        for conv, x in zip(self.coarse, features[FINE:], strict=True):
            coarse = x.shape[-1]
            x = F.interpolate(x, size=(height, coarse), mode="bilinear", align_corners=self.align_corners)
            x = conv(x).permute(0, 2, 3, 1).flatten(0, 1).unflatten(2, (self.taps, -1)).flatten(1, 2)
            columns = column_matrix(coarse, width, self.taps, self.align_corners, x)
            # (w, coarse * taps) @ (batch * h, coarse * taps, channels); len(x) would fix the size in an export
            total = total.baddbmm_(columns.expand(x.shape[0], -1, -1), x)
        return self.act(total.unflatten(0, (batch, height)).permute(0, 3, 1, 2))


class FusedSoftObjectRegions(nn.Module):
    """[`SoftObjectRegions`] for inference."""

    def __init__(self, head: SoftObjectRegions, widths: list[int], align_corners: bool):
        super().__init__()
        self.projection = ResizedConvNormAct(head.projection, widths, align_corners)
        self.classifier = head.classifier

    def forward(self, features: list[Tensor]) -> Tensor:
        return self.classifier(self.projection(features))


class FusedObjectAttention(nn.Module):
    """[`ObjectAttention`] for inference (step 3)."""

    def __init__(self, attention: ObjectAttention):
        super().__init__()
        self.query, self.key = (nn.Sequential(*map(_folded, x)) for x in (attention.query, attention.key))
        self.value = _folded(attention.value)
        self.out, self.act = _folded(attention.out)

    def forward(self, pixels: Tensor, regions: Tensor) -> tuple[Tensor, Tensor]:
        query = self.query(pixels).flatten(2).transpose(1, 2)  # (batch, h*w, keys)
        key = self.key(regions).flatten(2) * query.shape[-1] ** -0.5  # (batch, keys, classes)
        value = self.out(self.value(regions)).flatten(2).transpose(1, 2)  # (batch, classes, channels)
        attention = full_precision(query @ key).softmax(dim=-1)  # over classes
        context = (attention.to(value.dtype) @ value).transpose(1, 2)  # (batch, channels, h*w)
        return self.act(context.reshape(pixels.shape)), attention


class FusedOCRHead(nn.Module):
    """[`OCRHead`] for inference."""

    def __init__(self, head: OCRHead, widths: list[int], align_corners: bool):
        super().__init__()
        self.projection = ResizedConvNormAct(head.projection, widths, align_corners)
        self.attention = FusedObjectAttention(head.attention)
        fusion, self.act = _folded(head.fusion)
        of_context, of_pixels = fusion.weight.detach().chunk(2, dim=1)  # step 4
        self.context, self.pixels = _convolution(of_context, fusion.bias), _convolution(of_pixels)
        self.classifier = head.classifier

    def forward(self, features: list[Tensor], region_logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pixels = self.projection(features)
        regions = gather_regions(pixels, region_logits)
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

    def segment(self, features: list[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        region_logits = self.auxiliary_head([features[i] for i in self.config.auxiliary_in_indices])
        return region_logits, *self.ocr_head([features[i] for i in self.config.ocr_in_indices], region_logits)

    def fuse(self) -> "FusedOCRNet":
        return self

    def train(self, mode: bool = True) -> "FusedOCRNet":
        if mode:
            raise RuntimeError("a fused OCRNet can't be trained: train the model it was made from, and fuse that again")
        return super().train(False)

    def save_pretrained(self, *args, **kwargs):
        raise RuntimeError(
            "a fused OCRNet can't be saved: save the model it was made from, and call fuse() after loading"
        )


def _convolution(weight: Tensor, bias: Tensor | None = None) -> nn.Conv2d:
    """A convolution with this weight and bias, its sizes kept by padding."""
    outputs, inputs, *kernel = weight.shape
    conv = nn.Conv2d(inputs, outputs, kernel, padding=[k // 2 for k in kernel], bias=bias is not None, device="meta")
    conv.weight = nn.Parameter(weight.clone())
    if bias is not None:
        conv.bias = nn.Parameter(bias.detach())
    return conv


def _folded(layer: ConvNormAct) -> nn.Sequential:
    """The convolution with its batch norm folded in, and the activation, in place where that can be."""
    act = nn.ReLU(inplace=True) if isinstance(layer.act, nn.ReLU) else layer.act
    return nn.Sequential(fuse_conv_bn_eval(layer.conv, layer.norm), act)


# pipeline("image-segmentation") logs an error for a class whose name it doesn't find here
MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES[FusedOCRNet.config_class.model_type] = (
    OCRNetForSemanticSegmentation.__name__,
    FusedOCRNet.__name__,
)

__all__ = ["FusedOCRNet"]
