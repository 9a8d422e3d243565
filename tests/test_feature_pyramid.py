"""The pyramid over plain backbones: ViTDet's layers, images of any size, and everything that a model must do."""

import pytest
import torch
from helpers.clean_process import run_without_the_package
from helpers.named_backbones import VIT
from helpers.skipping import skip_if
from huggingface_hub.errors import StrictDataclassError
from torch import nn
from transformers import BeitConfig, Dinov2Config, DINOv3ViTConfig

from modeling_ocrnet import OCRNetConfig, OCRNetForSemanticSegmentation, OCRNetImageProcessor
from modeling_ocrnet.common.compat import program_problem
from modeling_ocrnet.feature_pyramid_ocrnet import FeaturePyramid
from modeling_ocrnet.gradient_checkpointing import enable_gradient_checkpointing

BACKBONES = {
    "dinov2": lambda: (Dinov2Config(**VIT, patch_size=14, out_indices=[2]), 14),
    "dinov3_vit": lambda: (DINOv3ViTConfig(**VIT, out_indices=[2]), 16),
    "beit": lambda: (BeitConfig(**VIT, patch_size=16, use_relative_position_bias=True, out_indices=[2]), 16),
}


def model_over(name, **fields):
    backbone, stride = BACKBONES[name]()
    heads = {"num_labels": 5, "ocr_channels": 16, "key_channels": 8, "pyramid_channels": 12}
    model = OCRNetForSemanticSegmentation(
        OCRNetConfig(backbone_config=backbone, pyramid_stride=stride, **heads, **fields)
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


def layer_norm(x, norm):
    """By its definition, over the channels of each pixel."""
    mean, variance = x.mean(1, keepdim=True), x.var(1, keepdim=True, unbiased=False)
    weight, bias = (v[:, None, None] for v in (norm.weight, norm.bias))
    return (x - mean) / (variance + norm.eps).sqrt() * weight + bias


def doubled(x, conv):
    """A transposed convolution without overlaps: each pixel becomes 2x2 pixels, by a product of its own."""
    out = torch.einsum("bihw,iokl->bohkwl", x, conv.weight)
    return out.flatten(4, 5).flatten(2, 3) + conv.bias[:, None, None]


def test_it_is_vitdets():
    """The layers by hand, on sizes that are multiples of the stride."""
    pyramid = FeaturePyramid(32, 12, 16)
    with torch.no_grad():
        for parameter in pyramid.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    x = torch.randn(2, 32, 4, 6)
    with torch.no_grad():
        found = pyramid(x, (64, 96))
        first, second, third, fourth = pyramid.levels
        quarter = doubled(nn.functional.gelu(layer_norm(doubled(x, first[0]), first[1])), first[3])
        pooled = x.unfold(2, 2, 2).unfold(3, 2, 2).amax((4, 5))
        resized = [quarter, doubled(x, second[0]), x, pooled]
        for level, map_, a in zip((first, second, third, fourth), resized, found, strict=True):
            point, norm, conv, last = list(level)[-4:]
            hidden = layer_norm(torch.einsum("oi,bihw->bohw", point.weight[..., 0, 0], map_), norm)
            expected = layer_norm(nn.functional.conv2d(hidden, conv.weight, padding=1), last)
            torch.testing.assert_close(a, expected, rtol=1e-4, atol=1e-5)
    assert [x.shape[-2:] for x in found] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    assert sum(p.numel() for p in pyramid.parameters() if p.ndim == 1) == 16 + 2 * 16 + 8 + 16 + 4 * 4 * 12


@pytest.mark.parametrize("name", BACKBONES)
def test_an_image_of_any_size_is_a_part_of_a_padded_one(name):
    """Zeros at the right and at the bottom, up to whole patches, change nothing."""
    model = model_over(name)
    stride = model.config.pyramid_stride
    for height, width in ((65, 101), (3 * stride, 2 * stride), (1, 17)):
        image = torch.randn(1, 3, height, width)
        padded = torch.zeros(1, 3, -(-height // stride) * stride, -(-width // stride) * stride)
        padded[..., :height, :width] = image
        with torch.no_grad():
            whole, part = model._encode(padded).feature_maps, model._encode(image).feature_maps
        for i, (a, b) in enumerate(zip(part, whole, strict=True)):
            rows, columns = (-(-x * 2 ** (3 - i) // (2 * stride)) for x in (height, width))
            assert a.shape[-2:] == (rows, columns)
            torch.testing.assert_close(a, b[..., :rows, :columns], rtol=0, atol=0)


@pytest.mark.parametrize("name", BACKBONES)
def test_it_trains_checkpoints_and_fuses(name):
    torch.manual_seed(1)
    model = model_over(name)
    images, labels = torch.randn(2, 3, 65, 101), torch.randint(0, 5, (2, 65, 101))
    with torch.no_grad():
        outputs = model(images, output_hidden_states=True)
        torch.testing.assert_close(model.fuse()(images).logits, outputs.logits, rtol=1e-4, atol=1e-5)
        channels_last = model.to(memory_format=torch.channels_last)(images).logits
        torch.testing.assert_close(channels_last, outputs.logits, rtol=1e-4, atol=1e-5)
    assert len(outputs.hidden_states) == 3
    model(images, labels=labels).loss.backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    assert any(name.startswith("feature_pyramid.levels.0") for name in expected)
    model.zero_grad()
    enable_gradient_checkpointing(model)
    model.train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    if name != "dinov3_vit" and name != "beit":  # which draw positions and paths by chance in training
        model(images, labels=labels).loss.backward()
        for key, gradient in expected.items():
            torch.testing.assert_close(model.get_parameter(key).grad, gradient, rtol=1e-3, atol=1e-5, msg=key)


LOAD = """
import torch
from transformers import AutoModelForSemanticSegmentation
images, expected = torch.load("expected.pt")
model = AutoModelForSemanticSegmentation.from_pretrained("model", trust_remote_code=True).eval()
assert type(model).__module__.startswith("transformers_modules"), type(model)
torch.testing.assert_close(model(images).logits, expected, rtol=1e-4, atol=1e-5)
torch.testing.assert_close(model.fuse()(images).logits, expected, rtol=1e-4, atol=1e-5)
"""


@pytest.mark.slow
def test_it_loads_without_the_package(tmp_path):
    model, images = model_over("dinov3_vit"), torch.randn(1, 3, 65, 101)
    model.save_pretrained(tmp_path / "model")
    OCRNetImageProcessor().save_pretrained(tmp_path / "model")
    with torch.no_grad():
        again = OCRNetForSemanticSegmentation.from_pretrained(tmp_path / "model").eval()
        torch.testing.assert_close(again(images).logits, model(images).logits, rtol=0, atol=0)
        torch.save((images, model(images).logits), tmp_path / "expected.pt")
    run_without_the_package(LOAD, tmp_path)


def test_a_module_of_ones_own_may_have_a_pyramid():
    class Patches(nn.Module):
        channels = [8]

        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 10, stride=10)

        def forward(self, images):
            return [self.conv(images)]

    config = OCRNetConfig(num_labels=5, ocr_channels=16, key_channels=8, pyramid_stride=10, pyramid_channels=6)
    model = OCRNetForSemanticSegmentation(config, backbone=Patches()).eval()
    assert model(torch.zeros(1, 3, 65, 101)).logits.shape[-2:] == (26, 41)


@pytest.mark.parametrize("field", ["pyramid_stride", "pyramid_channels"])
def test_fields_are_checked(field):
    with pytest.raises(StrictDataclassError, match=f"{field} must be at least 1, got 0"):
        OCRNetConfig(**{field: 0})


@pytest.mark.parametrize("field", ["ocr_in_indices", "auxiliary_in_indices"])
def test_there_are_four_maps(field):
    with pytest.raises(ValueError, match=f"{field} is .4., but Dinov2Backbone's pyramid has 4 feature maps"):
        model_over("dinov2", **{field: [4]})


@pytest.mark.export
@pytest.mark.slow
def test_onnx_computes_the_same(tmp_path):
    """For any batch and size; where stride and patch aren't powers of 2."""
    skip_if(program_problem())
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    from modeling_ocrnet.export.formats import write
    from modeling_ocrnet.inference.engines.engine import FORMATS

    model = model_over("dinov2")
    write(model.fuse(), tmp_path, "onnx", "fp32", [])
    session = onnxruntime.InferenceSession(tmp_path / FORMATS["onnx"].file, providers=["CPUExecutionProvider"])
    for shape in ((1, 3, 64, 96), (2, 3, 65, 101)):
        images = torch.randn(shape)
        (found,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
        with torch.no_grad():
            expected = model(images).logits
        torch.testing.assert_close(torch.from_numpy(found), expected, rtol=1e-3, atol=1e-4)
