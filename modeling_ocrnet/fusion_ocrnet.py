"""OCRNet rearranged for inference: the same function of the image, computed with fewer operations.

Everything here is exact but for rounding.

1. Batch norm in eval mode is affine, and folds into the convolution before it:
   g (Wx + b - mean) / s + beta = (g W / s) x + g (b - mean) / s + beta.
2. A head's first convolution reads maps resized to the finest one's size and concatenated: `resizing_ocrnet.py`.
3. The attention's weights of a pixel sum to 1, so that its out projection (a convolution with its batch norm folded)
   may act on the values of K regions instead of on all pixels: W (sum_k w_k v_k) + b = sum_k w_k (W v_k + b).
4. A 1x1 convolution of two concatenated maps is the sum of two: nothing has to be concatenated.
"""

import copy

import torch
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
)
from .resizing_ocrnet import convolve_resized, split_weight


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
        self.bias, self.align_corners = nn.Parameter(conv.bias.detach()), align_corners
        self.weights = nn.ParameterList(x.clone() for x in split_weight(conv.weight.detach(), widths))

    def forward(self, features: list[Tensor]) -> Tensor:
        return self.act(convolve_resized(features, list(self.weights), self.bias, self.align_corners))


class FusedSoftObjectRegions(nn.Module):
    """[`SoftObjectRegions`] for inference."""

    def __init__(self, head: SoftObjectRegions, widths: list[int], align_corners: bool):
        super().__init__()
        self.projection = FusedResizedConvNormAct(head.projection, widths, align_corners)
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
        self.projection = FusedResizedConvNormAct(head.projection, widths, align_corners)
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
