"""From a foreign file to a folder, and back: what is written loads, and computes what it did before."""

import sys

import pytest
import torch
from helpers import foreign_state_dicts, reference
from safetensors.torch import save_file
from transformers import (
    AutoBackbone,
    AutoConfig,
    AutoImageProcessor,
    AutoModelForSemanticSegmentation,
    TimmBackboneConfig,
)

from modeling_ocrnet import HRNetBackbone, OCRNetConfig, OCRNetForSemanticSegmentation
from modeling_ocrnet.conversion.convert import convert_checkpoint, export_mmseg
from modeling_ocrnet.conversion.imagenet_hrnet import load_imagenet_backbone

NAMES = ["mmseg_hrnet_ocr_tiny", "mmseg_resnet_ocr_tiny", "official_hrnet_ocr_tiny", "openseg_hrnet_ocr_tiny"]
CLASSES = ["road", "sidewalk", "building", "wall", "fence"]
PALETTE = [[128, 64, 128], [244, 35, 232], [70, 70, 70], [102, 102, 156], [190, 153, 153]]


def overrides(name):
    if "resnet" not in name:
        return {}
    pytest.importorskip("timm")
    return {"backbone_config": {"backbone": reference.narrow_resnet()}}


@pytest.fixture
def mmseg_file(tmp_path):
    """A released file of mmsegmentation 1.x."""
    meta = {"dataset_meta": {"classes": tuple(CLASSES), "palette": PALETTE}, "mmseg_version": "1.2.2"}
    torch.save({"meta": meta, "state_dict": reference.foreign_state(NAMES[0])}, tmp_path / "ocrnet.pth")
    return tmp_path / "ocrnet.pth"


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_converted_folder_computes_what_the_original_did(name, tmp_path):
    save_file(reference.foreign_state(name), tmp_path / "x.safetensors")
    report = convert_checkpoint(tmp_path / "x.safetensors", tmp_path / "out", overrides=overrides(name))
    model = AutoModelForSemanticSegmentation.from_pretrained(tmp_path / "out").eval()
    processor = AutoImageProcessor.from_pretrained(tmp_path / "out")
    expected = reference.load(name)
    pixel_values = expected["65x101.pixel_values"]
    with torch.no_grad():
        output = model(pixel_values)
    logits, target = output.logits, expected["65x101.logits"]
    if name.startswith("openseg"):  # upsampled there
        maps = processor.post_process_semantic_segmentation(output, [(65, 101)] * len(logits))
        agree = (torch.stack(maps) == target.argmax(1)).float().mean()
        assert agree > 0.9999
        logits = torch.nn.functional.interpolate(logits, size=(65, 101), mode="bilinear", align_corners=True)
    torch.testing.assert_close(logits, target, rtol=0, atol=1e-4 * target.abs().max().item())
    assert processor.do_flip_channel_order == name.startswith("openseg")
    assert processor.align_corners == model.config.align_corners == name.startswith(("openseg", "official"))
    assert f"{len(report.mapped)} tensors" in str(report)


def test_the_architecture_is_what_the_fixtures_makers_say():
    for name in ("mmseg_hrnet_ocr_tiny", "official_hrnet_ocr_tiny", "openseg_hrnet_ocr_tiny"):
        (model, _), said = reference.converted(name), reference.metadata(name)
        config = model.config
        backbone = config.backbone_config
        assert backbone.branch_channels == said["stage_channels"]
        assert backbone.stage_modules == said["stage_modules"]
        assert backbone.stage_blocks == said["stage_blocks"]
        assert (config.num_labels, config.ocr_channels) == (said["classes"], said["ocr_channels"])
        assert config.key_channels == said["key_channels"]
        assert config.align_corners == backbone.align_corners == said["align_corners"]
        assert config.auxiliary_kernel_size == said.get("aux_kernel", 1)


def test_classes_and_palette_come_from_meta(mmseg_file, tmp_path):
    convert_checkpoint(mmseg_file, tmp_path / "new")
    state = reference.foreign_state(NAMES[0])
    old = {"CLASSES": CLASSES, "PALETTE": PALETTE}
    torch.save({"meta": old, "state_dict": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "old.pth")
    convert_checkpoint(tmp_path / "old.pth", tmp_path / "old")
    for folder in ("new", "old"):
        config = OCRNetConfig.from_pretrained(tmp_path / folder)
        assert list(config.id2label.values()) == CLASSES
        assert config.label2id["sidewalk"] == 1
        assert config.palette == PALETTE


def test_names_that_do_not_fit_the_classifier_are_reported(tmp_path):
    content = {"meta": {"CLASSES": CLASSES[:3]}, "state_dict": reference.foreign_state(NAMES[0])}
    torch.save(content, tmp_path / "x.pth")
    report = convert_checkpoint(tmp_path / "x.pth", tmp_path / "out")
    assert "meta: classes: 3 entries for a network of 5 classes" in str(report)


def test_a_training_checkpoint_of_the_authors(tmp_path):
    state = {k.replace("model.", "module.model.", 1): v for k, v in reference.foreign_state(NAMES[2]).items()}
    state = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}  # of an old torch
    content = {"epoch": 484, "best_mIoU": 0.81, "state_dict": state, "optimizer": {"param_groups": []}}
    torch.save(content, tmp_path / "checkpoint.pth.tar")
    report = convert_checkpoint(tmp_path / "checkpoint.pth.tar", tmp_path / "out")
    assert report.dropped == {"loss.criterion.weight": "belongs to the training loss"}
    assert set(report.missing) == {k for k in report.missing if k.endswith("num_batches_tracked")} != set()
    assert "starts at 0" in str(report)
    expected = reference.load(NAMES[2])
    with torch.no_grad():
        model = OCRNetForSemanticSegmentation.from_pretrained(tmp_path / "out").eval()
        logits = model(expected["64x96.pixel_values"]).logits
    target = expected["64x96.logits"]
    torch.testing.assert_close(logits, target, rtol=0, atol=1e-4 * target.abs().max().item())


def test_the_card_names_the_source(mmseg_file, tmp_path):
    convert_checkpoint(mmseg_file, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: transformers\npipeline_tag: image-segmentation\n")
    assert "`ocrnet.pth`" in card
    assert "https://github.com/open-mmlab/mmsegmentation" in card


def broken(change):
    state = reference.foreign_state(NAMES[0])
    change(state)
    return state


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.update({"decode_head.1.extra.weight": torch.ones(1)}), "1 weights belong to no OCRNet.*extra"),
        (lambda s: s.update({"backbone.extra.weight": torch.ones(1)}), r"1 weights left over.*backbone\.extra"),
        (lambda s: s.pop("backbone.stage2.0.branches.0.0.bn2.bias"), "1 weights missing.*branches.0.0.bn2.bias"),
        (lambda s: s.pop("decode_head.1.conv_seg.weight"), "not an OCRNet.*ocr_head.classifier.weight"),
        (
            lambda s: s.update({"decode_head.1.conv_seg.bias": torch.ones(7)}),
            r"1 weights of another shape.*decode_head\.1\.conv_seg\.bias is \(7,\).*\(5,\)",
        ),
        (lambda s: [s.pop(k) for k in list(s) if "decode_head" in k or "stage4" in k], "weights of no known family"),
    ],
)
def test_whatever_is_unexplained_is_an_error(change, message, tmp_path):
    torch.save(broken(change), tmp_path / "x.pth")
    with pytest.raises(ValueError, match=rf"x\.pth: .*{message}"):
        convert_checkpoint(tmp_path / "x.pth", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_misspelt_fields_and_sources_are_errors(mmseg_file, tmp_path):
    with pytest.raises(
        ValueError, match="--model.config: 'droput' isn't a field of OCRNetConfig; did you mean dropout?"
    ):
        convert_checkpoint(mmseg_file, tmp_path / "out", overrides={"droput": 0.1})
    with pytest.raises(
        ValueError, match="source 'caffe' is unknown; expected one of auto, mmseg, hrnet, openseg, timm"
    ):
        convert_checkpoint(mmseg_file, tmp_path / "out", source="caffe")
    with pytest.raises(ValueError, match="as a checkpoint of openseg: .* belong to no OCRNet of this family"):
        convert_checkpoint(mmseg_file, tmp_path / "out", source="openseg")


def test_a_folder_is_never_overwritten(mmseg_file, tmp_path):
    with pytest.raises(ValueError, match="exists already; give a new folder"):
        convert_checkpoint(mmseg_file, tmp_path)


def test_a_resnet_that_timm_does_not_know_must_be_named(tmp_path):
    pytest.importorskip("timm")
    save_file(reference.foreign_state(NAMES[1]), tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match="x.safetensors: timm has no ResNet with a deep stem.*name the timm network"):
        convert_checkpoint(tmp_path / "x.safetensors", tmp_path / "out")


def test_without_timm_its_networks_are_not_to_be_had(monkeypatch, tmp_path):
    save_file(reference.foreign_state(NAMES[1]), tmp_path / "x.safetensors")
    monkeypatch.setattr("modeling_ocrnet.conversion.convert.is_timm_available", lambda: False)
    fields = {"backbone_config": {"backbone": "resnet50c"}}
    with pytest.raises(ImportError, match=r"resnet50c is timm's: pip install 'modeling-ocrnet\[timm\]'"):
        convert_checkpoint(tmp_path / "x.safetensors", tmp_path / "out", overrides=fields)


@pytest.mark.parametrize("name", NAMES)
def test_back_to_mmsegmentation(name, tmp_path):
    """The original names and numbers of mmsegmentation's own; of the others, biases go into the batch norms."""
    save_file(reference.foreign_state(name), tmp_path / "x.safetensors")
    convert_checkpoint(tmp_path / "x.safetensors", tmp_path / "ours", overrides=overrides(name))
    said = export_mmseg(tmp_path / "ours", tmp_path / "back" / "mmseg.pth")
    assert ("need align_corners=True" in said) != name.startswith("mmseg")
    back = torch.load(tmp_path / "back" / "mmseg.pth", weights_only=True)["state_dict"]
    if name.startswith("mmseg"):
        original = reference.foreign_state(name)
        assert back.keys() == original.keys()
        assert all(torch.equal(value, original[key]) for key, value in back.items())
        return
    names = set(reference.foreign_state(NAMES[0]))
    assert {k for k in back if "layer1" not in k} == {k for k in names if "layer1" not in k}
    convert_checkpoint(tmp_path / "back" / "mmseg.pth", tmp_path / "again")
    folded = OCRNetForSemanticSegmentation.from_pretrained(tmp_path / "again").eval()
    exact = OCRNetForSemanticSegmentation.from_pretrained(tmp_path / "ours").eval()
    features = [torch.randn(1, width, 8, 8) for width in exact.config.backbone_config.branch_channels]
    pixels = torch.nn.functional.interpolate(features[0], size=(8, 8))
    stacked = torch.cat([pixels, *features[1:]], dim=1)
    with torch.no_grad():
        regions, expected = folded.auxiliary_head([stacked]), exact.auxiliary_head([stacked])
        torch.testing.assert_close(regions, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())
        logits, target = (m.ocr_head([stacked], expected)[0] for m in (folded, exact))
    torch.testing.assert_close(logits, target, rtol=1e-4, atol=1e-4 * target.abs().max().item())


def test_what_mmsegmentation_cannot_express_is_refused(tmp_path):
    model = OCRNetForSemanticSegmentation(OCRNetConfig.from_variant("hr18s", {"fuse_upsample": "nearest"}))
    model.save_pretrained(tmp_path / "nearest")
    with pytest.raises(ValueError, match="nearest: fuse_upsample is 'nearest'"):
        export_mmseg(tmp_path / "nearest", tmp_path / "x.pth")


def test_an_imagenet_backbone_agrees_with_timm_and_starts_training(tmp_path):
    timm = pytest.importorskip("timm")
    original = timm.create_model("hrnet_w18_small_v2", pretrained=False).eval()
    save_file(original.state_dict(), tmp_path / "x.safetensors")
    report = convert_checkpoint(tmp_path / "x.safetensors", tmp_path / "out")
    assert all("ImageNet classifier" in reason for reason in report.dropped.values())
    backbone = HRNetBackbone.from_pretrained(tmp_path / "out").eval()
    pixel_values = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        stem = original.act1(original.bn1(original.conv1(pixel_values)))
        expected = original.stages(original.act2(original.bn2(original.conv2(stem))))
        found = backbone(pixel_values).feature_maps
    for feature, target in zip(found, expected, strict=True):
        torch.testing.assert_close(feature, target, rtol=1e-4, atol=1e-4 * target.abs().max().item())
    segmenter = OCRNetForSemanticSegmentation(OCRNetConfig.from_variant("hr18s"))
    load_imagenet_backbone(segmenter.backbone, str(tmp_path / "out"))
    assert torch.equal(segmenter.backbone.conv1.weight, original.conv1.weight)


@pytest.mark.slow
def test_timms_resnet101c_at_output_stride_8(tmp_path):
    timm = pytest.importorskip("timm")
    original = timm.create_model("resnet101c", pretrained=False, output_stride=8).eval()
    save_file(original.state_dict(), tmp_path / "x.safetensors")
    report = convert_checkpoint(tmp_path / "x.safetensors", tmp_path / "out")
    assert set(report.dropped) == {"fc.weight", "fc.bias"}
    backbone = AutoBackbone.from_config(AutoConfig.from_pretrained(tmp_path / "out")).eval()
    load_imagenet_backbone(backbone, str(tmp_path / "out"))
    pixel_values = torch.randn(1, 3, 33, 65)
    with torch.no_grad():
        found = backbone(pixel_values).feature_maps
        expected = original.forward_features(pixel_values)
    assert torch.equal(found[-1], expected)
    other = AutoBackbone.from_config(TimmBackboneConfig(backbone="resnet18"))
    with pytest.raises(ValueError, match=r"x.safetensors: not the weights of this backbone \(timm's resnet18\)"):
        load_imagenet_backbone(other, str(tmp_path / "x.safetensors"))


def test_the_script(mmseg_file, tmp_path, monkeypatch, capsys):
    """Both ways, by what it says and by the fields and metadata of the files that it writes; and what it refuses."""
    monkeypatch.setattr(sys, "path", ["scripts", *sys.path])
    import convert_checkpoint as script

    script.main([str(mmseg_file), str(tmp_path / "out"), "--source", "mmseg", "--config", '{"dropout": 0.25}'])
    said = capsys.readouterr().out
    assert "mmsegmentation (https://github.com" in said
    assert "missing: 0" in said
    assert OCRNetConfig.from_pretrained(tmp_path / "out").dropout == 0.25
    script.main([str(tmp_path / "out"), str(tmp_path / "back.pth"), "--to", "mmseg"])
    content = torch.load(tmp_path / "back.pth", weights_only=True)
    assert content["meta"]["dataset_meta"] == {"classes": CLASSES, "palette": PALETTE}
    with pytest.raises(SystemExit, match="convert_checkpoint.py: .*exists already"):
        script.main([str(mmseg_file), str(tmp_path / "out")])
    with pytest.raises(SystemExit, match=r"convert_checkpoint.py: .*none.pth: no such file"):
        script.main([str(tmp_path / "none.pth"), str(tmp_path / "other")])


def test_openseg_heads_over_a_resnet_have_their_own_names():
    """The names in this test are openseg's; see foreign_state_dicts.py."""
    names = set(foreign_state_dicts.openseg_resnet101())
    assert {"module.dsn_head.3.bias", "module.conv_3x3.1.0.weight", "module.backbone.resinit.bn3.bias"} <= names
