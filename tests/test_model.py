"""What the model promises beside its numbers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from transformers import AutoBackbone, AutoConfig, AutoModelForSemanticSegmentation, ResNetConfig

from modeling_ocrnet import (
    HRNetBackbone,
    HRNetConfig,
    OCRNetConfig,
    OCRNetForSemanticSegmentation,
    OCRNetImageProcessor,
)
from modeling_ocrnet.heads_ocrnet import ObjectAttention, OCRNetClassifier, SpatialGather
from modeling_ocrnet.training.fast_layers import convert_for_training

PUBLISHED = {  # parameters at 19 classes, of the model and of its backbone: mmsegmentation's configs
    "hr18s": (6_378_496, 3_860_720),
    "hr18": (12_080_036, 9_562_260),
    "hr48": (70_371_446, 65_325_120),
}


def tiny(**fields) -> OCRNetConfig:
    backbone = HRNetConfig(
        stem_channels=8,
        stage1_channels=4,
        branch_channels=[4, 8, 12, 16],
        stage_modules=[1, 1, 2, 1],
        stage_blocks=[1] * 4,
    )
    return OCRNetConfig(backbone_config=backbone, **{"num_labels": 5, "ocr_channels": 16, "key_channels": 8, **fields})


@pytest.fixture
def model():
    return OCRNetForSemanticSegmentation(tiny()).eval()


@pytest.fixture
def batch():
    labels = torch.randint(0, 5, (2, 64, 96))
    labels[:, :10] = 255
    return {"pixel_values": torch.randn(2, 3, 64, 96), "labels": labels}


@pytest.mark.parametrize("variant", PUBLISHED)
def test_published_parameter_counts(variant):
    with torch.device("meta"):
        model = OCRNetForSemanticSegmentation(OCRNetConfig.from_variant(variant, num_labels=19))
    assert (model.num_parameters(), model.backbone.num_parameters()) == PUBLISHED[variant]


def test_unknown_variants_are_refused():
    with pytest.raises(ValueError, match="hr19.*hr18s, hr18"):
        OCRNetConfig.from_variant("hr19")


@pytest.mark.parametrize("size", [(64, 96), (65, 101), (33, 40), (32, 32), (7, 250)])
def test_any_size(model, size):
    """Maps have the image's sides over 4 to 32, rounded up."""
    with torch.no_grad():
        features = model.backbone(torch.randn(1, 3, *size)).feature_maps
        output = model(torch.randn(1, 3, *size), labels=torch.zeros(1, *size, dtype=torch.long))
    strided = [tuple(-(-side // 2**k) for side in size) for k in (2, 3, 4, 5)]
    assert [tuple(x.shape[-2:]) for x in features] == strided
    assert output.logits.shape == output.auxiliary_logits.shape == (1, 5, *strided[0])
    assert output.loss.isfinite()


def test_the_loss_is_composed_at_label_resolution(model, batch):
    output = model(**batch)
    for head, logits in ((output.ocr_loss, output.logits), (output.auxiliary_loss, output.auxiliary_logits)):
        upsampled = F.interpolate(logits, size=(64, 96), mode="bilinear")
        total = F.cross_entropy(upsampled, batch["labels"], ignore_index=255, reduction="sum")
        torch.testing.assert_close(head, total / batch["labels"].numel())
    torch.testing.assert_close(output.loss, output.ocr_loss + 0.4 * output.auxiliary_loss)


def test_regions_can_be_looked_at(model, batch):
    plain, output = model(**batch), model(**batch, output_regions=True)
    assert plain.region_representations is None
    torch.testing.assert_close(plain.logits, output.logits)
    assert output.region_representations.shape == (2, 5, 16)
    assert output.region_attention.shape == (2, 5, 16, 24)
    torch.testing.assert_close(output.region_attention.sum(1), torch.ones(2, 16, 24))


def test_a_region_is_a_weighted_mean_of_pixels():
    """Equation 1 by hand: with all the weight on one pixel, the region is that pixel."""
    pixels = torch.randn(1, 3, 4, 5)
    logits = torch.full((1, 2, 4, 5), -1e4)
    logits[0, 0, 1, 2] = logits[0, 1, 3, 4] = 0
    regions = SpatialGather()(pixels, logits)
    torch.testing.assert_close(regions[0, :, :, 0], torch.stack([pixels[0, :, 1, 2], pixels[0, :, 3, 4]], dim=1))
    torch.testing.assert_close(
        SpatialGather()(pixels, torch.zeros(1, 1, 4, 5)).flatten(), pixels.mean((2, 3)).flatten()
    )


@pytest.mark.parametrize("bias", [False, True])
def test_the_attention_is_the_papers(bias):
    """Equation 3 as an einsum: each pixel takes the mean of the regions' values, then the out projection."""
    attend = ObjectAttention(tiny(attention_conv_bias=bias)).double()
    channels = attend.out.conv.out_channels
    pixels, regions = torch.randn(2, channels, 5, 6).double(), torch.randn(2, channels, 7, 1).double()
    context, weights = attend(pixels, regions)
    value = attend.value(regions).squeeze(3)
    of_pixels = torch.einsum("bpk,bck->bcp", weights, value).unflatten(2, (5, 6))
    torch.testing.assert_close(context, attend.out(of_pixels), rtol=1e-9, atol=1e-9)


def test_tuples_and_hidden_states(model, batch):
    output, plain = model(**batch), model(**batch, return_dict=False)
    assert len(plain) == len(output.to_tuple())
    torch.testing.assert_close(plain[1], output.logits)
    hidden = model(**batch, output_hidden_states=True).hidden_states
    assert [x.shape[1] for x in hidden] == [4, 8, 12, 16]


def test_labels_that_are_none_are_refused(model, batch):
    pixel_values, labels, config = batch["pixel_values"], batch["labels"], model.config
    with pytest.raises(ValueError, match=r"labels must be \(batch, height, width\), got \(2, 1, 64, 96\) for 2 images"):
        model(pixel_values, labels=labels[:, None])
    for dtype in (torch.uint8, torch.int32, torch.float32):
        with pytest.raises(ValueError, match=rf"^labels are {dtype}, expected torch.int64: pass labels.long\(\)$"):
            model(pixel_values, labels=labels.to(dtype))
    with pytest.raises(ValueError, match=r"^labels are a list, expected a tensor"):
        model(pixel_values, labels=labels.tolist())
    with pytest.raises(ValueError, match=r"labels must be \(batch, height, width\), got \(2, 0, 96\)"):
        model(pixel_values, labels=labels[:, :0])
    labels[0, :2] = config.loss_ignore_index
    assert model(pixel_values, labels=labels).loss.isfinite()


LOSSES = {
    "cross-entropy": {},
    "all valid": {"loss_normalizer": "valid", "class_weights": [1.0, 2, 3, 4, 5]},
    "hard examples": {"ohem_threshold": 0.7, "ohem_min_kept": 100},
    "smoothed": {"label_smoothing": 0.1},
    **{x: {"losses": {x: 1.0}} for x in ("lovasz", "dice", "focal", "rmi", "bootstrapped_cross_entropy")},
}


@pytest.mark.parametrize("convert", [lambda x: x, convert_for_training], ids=["plain", "for training"])
@pytest.mark.parametrize("fields", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("wrong", [-1, 5, 254])
def test_labels_that_are_no_classes_are_named(fields, convert, wrong, batch):
    model = convert(OCRNetForSemanticSegmentation(tiny(**fields)))
    batch["labels"][0, 0, 0] = wrong
    with pytest.raises(ValueError, match=rf"^labels hold {wrong}, expected classes from 0 to 4, or .* \(255\) for"):
        model(**batch)


def test_every_parameter_gets_a_gradient(batch):
    """DDP stops on parameters that don't."""
    model = OCRNetForSemanticSegmentation(tiny()).train()
    model(**batch).loss.backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_channels_last_computes_the_same(model, batch):
    expected = model(**batch).logits
    model = model.to(memory_format=torch.channels_last)
    logits = model(batch["pixel_values"].contiguous(memory_format=torch.channels_last)).logits
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)


def test_softmaxes_and_loss_stay_in_float32_under_autocast(model, batch):
    with torch.autocast("cpu", torch.bfloat16):
        output = model(**batch, output_regions=True)
    assert output.logits.dtype == torch.bfloat16
    assert output.region_attention.dtype == output.loss.dtype == output.ocr_loss.dtype == torch.float32
    exact = model(**batch)
    torch.testing.assert_close(output.loss, exact.loss, rtol=0.05, atol=0.02)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_mean_over_many_pixels_survives_half_precision(dtype):
    """A softmax over 100,000 pixels has values of 1e-5, which float16 can't hold; the mean of ones is still one."""
    pixels, logits = torch.ones(1, 2, 250, 400, dtype=dtype), torch.zeros(1, 1, 250, 400, dtype=dtype)
    assert SpatialGather()(pixels, logits).flatten().tolist() == [1.0, 1.0]


@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-12), (torch.bfloat16, 4e-3), (torch.float16, 5e-4)])
def test_regions_in_half_precision(dtype, error):
    """Only rounding differs: the regions' own, by 2^-9 or 2^-12, and in bfloat16 each weight's, which averages out."""
    pixels, scores = torch.rand(1, 8, 100, 100).to(dtype), torch.randn(1, 3, 100, 100).to(dtype)
    exact = (scores.double().flatten(2).softmax(2) @ pixels.double().flatten(2).transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(SpatialGather()(pixels, scores).squeeze(3).double(), exact, rtol=error, atol=0)


def test_initialisation_is_mmsegmentations():
    """Convolutions normal with variance 2 / (outputs * kernel area), classifiers 0.01, batch norms 1 and 0."""
    model = OCRNetForSemanticSegmentation(OCRNetConfig.from_variant("hr18s", num_labels=150))
    for name, module in model.named_modules():
        if isinstance(module, OCRNetClassifier):
            expected = 0.01
        elif isinstance(module, torch.nn.Conv2d):
            expected = (2 / (module.out_channels * module.kernel_size[0] ** 2)) ** 0.5
        elif isinstance(module, torch.nn.BatchNorm2d):
            assert (module.weight == 1).all(), name
            assert (module.bias == 0).all(), name
            continue
        else:
            continue
        if module.weight.numel() > 1000:
            assert module.weight.std().item() == pytest.approx(expected, rel=0.1), name
        assert module.bias is None or (module.bias == 0).all(), name


def test_branches_can_start_as_the_identity():
    """Residual blocks and exchanges then add nothing: what goes in (past a ReLU) comes out."""
    config = OCRNetConfig.from_variant("hr18s", backbone_fields={"zero_init_residual": True})
    backbone = OCRNetForSemanticSegmentation(config).eval().backbone
    branches = [torch.rand(1, width, 16 // 2**i, 16 // 2**i) for i, width in enumerate((18, 36, 72))]
    for before, after in zip(branches, backbone.stage3[0](branches), strict=True):
        torch.testing.assert_close(after, before, rtol=0, atol=0)


@pytest.mark.parametrize("zero_init", [True, False])
def test_the_object_context_can_start_at_zero(zero_init):
    """Then the regions, whatever they are, say nothing at first."""
    config = OCRNetConfig.from_variant("hr18s", zero_init_context=zero_init)
    model = OCRNetForSemanticSegmentation(config).eval()
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = model(image).logits
        model.auxiliary_head.classifier.weight.normal_(std=10)
        after = model(image).logits
    assert torch.equal(before, after) == zero_init


@pytest.mark.slow
def test_torch_export_with_dynamic_sizes(model):
    class Logits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, pixel_values):
            return self.model(pixel_values).logits

    size = {2: 32 * torch.export.Dim("rows", min=2, max=32), 3: 32 * torch.export.Dim("columns", min=2, max=32)}
    with torch.no_grad():
        exported = torch.export.export(
            Logits(), (torch.randn(1, 3, 64, 96),), dynamic_shapes={"pixel_values": size}
        ).module()
        for shape in ((1, 3, 64, 96), (1, 3, 128, 64)):
            x = torch.randn(shape)
            torch.testing.assert_close(exported(x), model(x).logits, rtol=1e-4, atol=1e-5)


@pytest.fixture
def folder(model, tmp_path):
    model.save_pretrained(tmp_path / "saved")
    OCRNetImageProcessor().save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def test_saving_writes_these_files(folder):
    """Files at the package's root travel with a checkpoint; folders stay at home."""
    assert sorted(x.name for x in folder.iterdir()) == [
        "backbone_ocrnet.py",
        "config.json",
        "configuration_hrnet.py",
        "configuration_ocrnet.py",
        "feature_pyramid_ocrnet.py",
        "fusion_ocrnet.py",
        "gradient_checkpointing.py",
        "heads_ocrnet.py",
        "image_processing_ocrnet.py",
        "labels_ocrnet.py",
        "loss_bootstrapped_ocrnet.py",
        "loss_classes_ocrnet.py",
        "loss_cross_entropy_ocrnet.py",
        "loss_dice_ocrnet.py",
        "loss_fields_ocrnet.py",
        "loss_focal_ocrnet.py",
        "loss_lovasz_ocrnet.py",
        "loss_ocrnet.py",
        "loss_rmi_ocrnet.py",
        "model.safetensors",
        "modeling_hrnet.py",
        "modeling_ocrnet.py",
        "pixels_ocrnet.py",
        "preprocessor_config.json",
        "resizing_ocrnet.py",
    ]


def test_loading_gives_the_same_model(model, folder, batch):
    loaded = AutoModelForSemanticSegmentation.from_pretrained(folder)
    assert isinstance(loaded, OCRNetForSemanticSegmentation)
    config = AutoConfig.from_pretrained(folder)
    assert isinstance(config, OCRNetConfig)
    assert isinstance(config.backbone_config, HRNetConfig)
    assert config.backbone_config.branch_channels == [4, 8, 12, 16]
    torch.testing.assert_close(loaded.eval()(**batch).loss, model(**batch).loss, rtol=0, atol=0)


def test_loading_in_bfloat16_and_onto_a_device(folder, batch):
    loaded = OCRNetForSemanticSegmentation.from_pretrained(folder, dtype=torch.bfloat16, device_map="cpu").eval()
    assert {p.dtype for p in loaded.parameters()} == {torch.bfloat16}
    output = loaded(batch["pixel_values"].bfloat16(), labels=batch["labels"])
    assert output.logits.dtype == torch.bfloat16
    assert output.loss.dtype == torch.float32


@pytest.mark.slow
def test_loading_without_the_package(model, folder, batch, tmp_path):
    """In a process that can't import modeling_ocrnet, with the code that lies beside the weights."""
    torch.save((batch["pixel_values"], model(batch["pixel_values"]).logits), tmp_path / "expected.pt")
    code = f"""
import importlib.util, sys, torch
sys.path = [p for p in sys.path if p not in ("", {str(Path(__file__).parents[1])!r})]
sys.meta_path = [f for f in sys.meta_path if "editable" not in str(f).lower()]
assert importlib.util.find_spec("modeling_ocrnet") is None
from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation
model = AutoModelForSemanticSegmentation.from_pretrained({str(folder)!r}, trust_remote_code=True).eval()
processor = AutoImageProcessor.from_pretrained({str(folder)!r}, trust_remote_code=True)
pixel_values, logits = torch.load({str(tmp_path / "expected.pt")!r})
torch.testing.assert_close(model(pixel_values).logits, logits, rtol=0, atol=0)
assert type(model).__module__.startswith("transformers_modules"), type(model)
assert type(processor).__name__ == "OCRNetImageProcessor"
"""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"HF_HOME": str(tmp_path / "hf")}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_backbone_alone():
    """AutoBackbone builds it, and it gives the branches that were asked for."""
    config = HRNetConfig(branch_channels=[4, 8, 12, 16], out_features=["branch2", "branch4"])
    backbone = AutoBackbone.from_config(config)
    assert isinstance(backbone, HRNetBackbone)
    assert backbone.channels == [8, 16]
    features = backbone(torch.randn(1, 3, 64, 64)).feature_maps
    assert [tuple(x.shape[1:]) for x in features] == [(8, 8, 8), (16, 2, 2)]


def test_another_backbone(batch):
    """Any transformers backbone, each head reading its own feature maps."""
    backbone = ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16, 16, 24],
        depths=[1] * 4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = OCRNetConfig(
        backbone_config=backbone,
        num_labels=5,
        ocr_channels=16,
        key_channels=8,
        ocr_in_indices=[1, 2, 3],
        auxiliary_in_indices=[1],
        auxiliary_channels=12,
        auxiliary_kernel_size=3,
    )
    model = OCRNetForSemanticSegmentation(OCRNetConfig(**config.to_dict()))  # through its own dict, as from a file
    assert model.auxiliary_head.projection.conv.weight.shape == (12, 16, 3, 3)
    assert model.ocr_head.projection.conv.in_channels == 16 + 16 + 24
    assert model(**batch).logits.shape == (2, 5, 8, 12)


def test_impossible_networks_are_refused():
    with pytest.raises(Exception, match="branch_channels must be four positive numbers"):
        HRNetConfig(branch_channels=[18, 36, 72])
    with pytest.raises(Exception, match="ocr_channels"):
        OCRNetConfig(ocr_channels="many")


def test_the_pipeline_segments_an_image(folder):
    from transformers import pipeline

    picture = Image.effect_noise((60, 40), 80).convert("RGB")
    segments = pipeline("image-segmentation", model=str(folder))(picture)
    assert segments
    assert all(x["mask"].size == (60, 40) and x["label"].startswith("LABEL_") for x in segments)
