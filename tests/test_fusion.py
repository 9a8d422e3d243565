"""The copy for inference against the plain model: in float64 they may differ by rounding alone."""

import logging

import pytest
import torch
import torch.nn.functional as F
from helpers.reference import narrow_resnet
from helpers.skipping import skip_if
from helpers.tiny import TINY_BACKBONE, WIDTHS, tiny_backbone, tiny_config
from PIL import Image
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import ConvNextConfig, TimmBackboneConfig, pipeline

from modeling_ocrnet import HRNetConfig, OCRNetConfig, OCRNetForSemanticSegmentation, OCRNetImageProcessor
from modeling_ocrnet.common.compat import compile_problem
from modeling_ocrnet.configuration_ocrnet import _R101_HEADS
from modeling_ocrnet.fusion_ocrnet import (
    FusedObjectAttention,
    FusedProjection,
    PixelConv2d,
    PixelLinear,
    fold_batch_norms,
    to_rows,
)
from modeling_ocrnet.heads_ocrnet import ConvNormAct, ObjectAttention
from modeling_ocrnet.resizing_ocrnet import resize_concat

OUTPUTS = ("logits", "auxiliary_logits", "region_representations", "region_attention")
STAGES = ["stage1", "stage2", "stage3", "stage4"]


def trained(module: nn.Module) -> nn.Module:
    """In eval mode, in float64, with norms that are neither zeros nor ones, as after training."""
    for norm in (x for x in module.modules() if isinstance(x, nn.BatchNorm2d)):
        norm.running_mean.normal_(std=0.1)
        norm.running_var.uniform_(0.5, 2)
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, std=0.3)
    return module.double().eval()


def r101_d8() -> OCRNetConfig:
    pytest.importorskip("timm")
    backbone = TimmBackboneConfig(backbone=narrow_resnet(), out_indices=[1, 2, 3, 4], output_stride=8)
    return tiny_config(backbone_config=backbone, **{**_R101_HEADS, "auxiliary_channels": 8})


def deeper(**fields) -> HRNetConfig:
    return HRNetConfig(**{**TINY_BACKBONE, "stage_modules": [1, 1, 2, 1], "stage_blocks": [1, 2, 1, 1], **fields})


CONFIGS = {
    "mmsegmentation": lambda: tiny_config(backbone_config=deeper()),
    "authors": lambda: tiny_config(
        backbone_config=deeper(fuse_upsample="size", align_corners=True), align_corners=True
    ),
    "openseg": lambda: tiny_config(
        auxiliary_kernel_size=3, input_conv_bias=True, attention_conv_bias=True, hidden_act="leaky_relu"
    ),
    "timm's resizes": lambda: tiny_config(backbone_config=tiny_backbone(fuse_upsample="nearest")),
    "two maps": lambda: tiny_config(auxiliary_in_indices=[1, 3], ocr_in_indices=[1, 2]),
    "coarse maps first": lambda: tiny_config(auxiliary_in_indices=[2, 3, 0, 1], ocr_in_indices=[2, 0, 3, 1]),
    "r101-d8": r101_d8,
    "convnext": lambda: tiny_config(
        backbone_config=ConvNextConfig(hidden_sizes=[8, 16, 24, 32], depths=[1] * 4, out_features=STAGES)
    ),
}


@pytest.fixture
def model():
    return trained(OCRNetForSemanticSegmentation(tiny_config(num_labels=5)))


@pytest.mark.parametrize("name", CONFIGS)
def test_nothing_but_the_rounding_changes(name):
    config = CONFIGS[name]()
    model = trained(OCRNetForSemanticSegmentation(config))
    fused = model.fuse()
    for batch, height, width in ((1, 64, 96), (2, 37, 101)):
        image = torch.randn(batch, 3, height, width, dtype=torch.float64)
        labels = torch.randint(0, config.num_labels, (batch, height, width))
        with torch.no_grad():
            plain = model(image, labels=labels, output_regions=True)
            output = fused(image, labels=labels, output_regions=True)
        for key in ("loss", *OUTPUTS):
            torch.testing.assert_close(output[key], plain[key], rtol=1e-9, atol=1e-9, msg=f"{key} at {height}x{width}")


def test_no_batch_norm_is_left():
    backbone = trained(OCRNetForSemanticSegmentation(tiny_config()).backbone)
    image = torch.randn(1, 3, 65, 101, dtype=torch.float64)
    with torch.no_grad():
        before = backbone(image).feature_maps
        folded = fold_batch_norms(backbone)
        torch.testing.assert_close(folded(image).feature_maps, before, rtol=1e-11, atol=1e-11)
    assert [x for x in folded.modules() if isinstance(x, nn.BatchNorm2d)] == []


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("use_matmul", [False, True])
def test_channels_are_mixed_before_the_resize(kernel, align_corners, use_matmul):
    layer = trained(ConvNormAct(tiny_config(), sum(WIDTHS), 16, kernel))
    sizes = [(17, 26), (9, 13), (5, 7), (3, 4)]
    maps = [torch.randn(2, n, *size, dtype=torch.float64) for n, size in zip(WIDTHS, sizes, strict=True)]
    with torch.no_grad():
        expected = layer(resize_concat(maps, align_corners))
        fused = FusedProjection(layer, WIDTHS, align_corners)
        fused.fine.use_matmul = use_matmul
        mixed = fused(maps)
    torch.testing.assert_close(mixed, to_rows(expected), rtol=1e-11, atol=1e-11)


def test_the_out_projection_acts_on_regions():
    attention = trained(ObjectAttention(tiny_config()))
    pixels = torch.randn(2, 16, 5, 7, dtype=torch.float64)
    regions = torch.randn(2, 16, 3, 1, dtype=torch.float64)
    with torch.no_grad():
        context, weights = attention(pixels, regions)
        fused = FusedObjectAttention(attention)(to_rows(pixels), regions.squeeze(3))
    torch.testing.assert_close(fused, (to_rows(context), weights), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("use_matmul", [False, True])
@pytest.mark.parametrize(("inputs", "kernel_size"), [(3, 1), (3, 3), (2, 5), (9, 3)])
def test_a_convolution_of_pixels(inputs, kernel_size, use_matmul):
    x, weight, bias = torch.randn(2, inputs, 6, 9), torch.randn(5, inputs, kernel_size, kernel_size), torch.randn(5)
    layer = PixelConv2d(weight, bias)
    layer.use_matmul = use_matmul
    expected = to_rows(F.conv2d(x, weight, bias, padding=kernel_size // 2))
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-4)
    if kernel_size == 1:
        layer = PixelLinear(weight, bias)
        layer.use_matmul = use_matmul
        torch.testing.assert_close(layer(to_rows(x)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("autocast", [False, True])
def test_half_precision_loses_no_more_than_the_plain_model(model, autocast):
    image = torch.randn(2, 3, 96, 160, dtype=torch.float64)
    with torch.no_grad():
        exact = model(image).logits
        model = model.float() if autocast else model.bfloat16()
        image = image.to(model.dtype)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            plain, fused = model(image).logits, model.fuse()(image).logits
    assert fused.dtype == plain.dtype == torch.bfloat16
    error, allowed = ((x.double() - exact).abs().mean() for x in (fused, plain))
    assert error < 1.5 * allowed


@pytest.mark.slow
def test_exported_with_dynamic_sizes(model):
    class Logits(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model.float().fuse()

        def forward(self, pixel_values):
            return self.model(pixel_values).logits

    size = {2: 32 * torch.export.Dim("rows", min=2, max=32), 3: 32 * torch.export.Dim("columns", min=2, max=32)}
    with torch.no_grad():
        exported = torch.export.export(
            Logits(), (torch.randn(1, 3, 64, 96),), dynamic_shapes={"pixel_values": size}
        ).module()
        for shape in ((1, 3, 64, 96), (1, 3, 128, 64)):
            x = torch.randn(shape)
            torch.testing.assert_close(exported(x), model(x).logits, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_compiled_without_graph_breaks(model):
    skip_if(compile_problem())
    torch.compiler.reset()
    compiled = torch.compile(model.fuse(), backend="eager", fullgraph=True)
    with torch.no_grad():
        x = torch.randn(1, 3, 65, 101, dtype=torch.float64)
        torch.testing.assert_close(compiled(x).logits, model(x).logits, rtol=1e-9, atol=1e-9)
    torch.compiler.reset()


def test_the_model_itself_stays_as_it_was(model):
    before = {name: value.clone() for name, value in model.train().state_dict().items()}
    fused = model.fuse()
    assert model.training
    assert not fused.training
    for tensor in fused.parameters():
        tensor.zero_()
    fused.config.num_labels = 2
    assert model.config.num_labels == 5
    assert all(x.requires_grad for x in model.parameters())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_it_can_only_infer(model, tmp_path):
    fused = model.fuse()
    assert fused.eval() is fused.fuse() is fused
    with pytest.raises(RuntimeError, match="can't be trained: train the original model"):
        fused.train()
    with pytest.raises(RuntimeError, match="can't be saved: save the original model"):
        fused.save_pretrained(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_pipeline_takes_it(model, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    image = Image.effect_noise((60, 40), 80).convert("RGB")
    model = model.float()
    plain, fused = (
        pipeline("image-segmentation", model=x, image_processor=OCRNetImageProcessor())(image)
        for x in (model, model.fuse())
    )
    assert [x.getMessage() for x in caplog.records if x.levelno >= logging.ERROR] == []
    assert [(x["label"], x["mask"].tobytes()) for x in fused] == [(x["label"], x["mask"].tobytes()) for x in plain]


def operations(model: nn.Module) -> int:
    with FlopCounterMode(display=False) as counter:
        model(torch.empty(1, 3, 512, 1024, device="meta"))
    return counter.get_total_flops()


def test_it_computes_less():
    """On the whole less than two thirds; and many classes cost little more than two."""
    shallow = HRNetConfig(stage_modules=[1] * 4, stage_blocks=[4, 2, 2, 2])  # less to build; the heads are what counts
    with torch.device("meta"):
        models = {
            n: OCRNetForSemanticSegmentation(OCRNetConfig(backbone_config=shallow, num_labels=n)) for n in (2, 171)
        }
    fused = {n: operations(model.fuse()) for n, model in models.items()}
    assert fused[2] < operations(models[2].eval()) * 2 / 3
    assert fused[171] < fused[2] * 1.25
