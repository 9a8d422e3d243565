"""Each export against PyTorch's own network, through the scripts and from several threads."""

import importlib
import json
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from helpers.skipping import skip_if
from helpers.tiny import tiny_config
from PIL import Image
from torch import nn

from modeling_ocrnet import OCRNetForSemanticSegmentation, OCRNetImageProcessor
from modeling_ocrnet.common.compat import program_problem
from modeling_ocrnet.evaluation.evaluate_checkpoint import EvaluationArguments, evaluate_checkpoint
from modeling_ocrnet.export import formats
from modeling_ocrnet.export.parity import ParityReport
from modeling_ocrnet.inference import Predictor
from modeling_ocrnet.inference.engines.engine import FORMATS
from modeling_ocrnet.inference.loading import load_engine, load_model
from modeling_ocrnet.inference.segmentation import InferenceOptions, segment

KINDS = ("onnx", "openvino", "torch")
NEEDED = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("openvino",), "torch": ()}


def smooth(seed: int, width: int, height: int) -> Image.Image:
    """Blobs of colour, as large as objects are."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    model = OCRNetForSemanticSegmentation(tiny_config(num_labels=19))
    for norm in (x for x in model.modules() if isinstance(x, nn.BatchNorm2d)):  # as after training
        norm.running_mean.normal_(std=0.1)
        norm.running_var.uniform_(0.5, 2)
    nn.init.normal_(model.ocr_head.classifier.weight, std=1)  # so that several classes are predicted
    folder = tmp_path_factory.mktemp("checkpoint")
    model.save_pretrained(folder)
    OCRNetImageProcessor().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for i, size in enumerate(((96, 64), (101, 65), (96, 64), (160, 128))):
        smooth(i, *size).save(folder / f"{i}.png")
    return folder


def script(name, *argv):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", ["scripts", *sys.path])
        importlib.import_module(name).main([str(x) for x in argv])


@pytest.fixture(scope="module")
def exported(checkpoint, photos, scenes, tmp_path_factory):
    """A function from a format, and int8 if need be, to a folder that scripts/export.py wrote."""
    root, made, programs = tmp_path_factory.mktemp("exported"), {}, {}
    export_program = formats.export_program

    def once(model, products=False):  # the same network each time
        if products not in programs:
            programs[products] = export_program(model, products)
        return programs[products]

    def export(kind, precision="fp32"):
        skip_if(program_problem())
        for package in (*NEEDED[kind], *(["nncf"] if precision == "int8" else [])):
            pytest.importorskip(package)
        folder = root / f"{kind}_{precision}"
        if folder not in made:
            of_data = ("--name", "street_scenes", "--root", scenes) if precision == "fp32" else ("--images", photos)
            bounds = () if precision == "fp32" else ("--agreement", "0")  # of an untrained network
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(formats, "export_program", once)
                script("export", checkpoint, folder, "--format", kind, "--precision", precision, *of_data, *bounds)
            made[folder] = True
        return folder

    return export


@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_those_of_the_network(kind, exported, checkpoint):
    """Of any batch and size, also one that is no multiple of 32: only rounding differs."""
    model, _ = load_model(str(checkpoint))
    engine, _ = load_engine(str(exported(kind)))
    with torch.no_grad():
        for shape in ((1, 3, 64, 96), (2, 3, 65, 101)):
            images = torch.randn(shape)
            expected = model(images).logits
            tolerance = 1e-5 * expected.abs().max().item()
            torch.testing.assert_close(engine(images).logits, expected, atol=tolerance, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_predict_takes_it(kind, exported, checkpoint, photos, tmp_path):
    """Its masks against PyTorch's with the same window and flip."""
    argv = [exported(kind), photos, "--output", tmp_path, "--engine", FORMATS[kind].engine, "--flip", "true"]
    script("predict", *argv, "--window", "[64,64]")
    model, processor = load_model(str(checkpoint))
    options = InferenceOptions(window=(64, 64), flip=True)
    for photo in photos.iterdir():
        (expected,) = segment(model, processor, [Image.open(photo).convert("RGB")], options)
        assert len(np.unique(expected)) > 1
        assert (np.asarray(Image.open(tmp_path / f"{photo.stem}_ids.png")) == expected).mean() > 0.999


@pytest.mark.parametrize("kind", KINDS)
def test_threads_get_what_one_gets(kind, exported, photos):
    predictor, paths = Predictor(exported(kind)), sorted(photos.iterdir()) * 3
    alone = predictor(paths)
    with ThreadPoolExecutor(4) as pool:
        for one, other in zip(alone, pool.map(predictor, paths), strict=True):
            np.testing.assert_array_equal(one, other)


def test_evaluate_takes_it(exported, checkpoint, scenes):
    """Its score against the checkpoint's."""
    task = EvaluationArguments("street_scenes", root=str(scenes), workers=0)
    record, expected = (evaluate_checkpoint(str(x), task, InferenceOptions()) for x in (exported("onnx"), checkpoint))
    assert record["mean_iou"] == pytest.approx(expected["mean_iou"], abs=1e-3)
    assert record["precision"] == "fp32"


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
def test_eight_bits_see_nearly_the_same(kind, exported, checkpoint, photos):
    """Most weights are bytes, and on smooth images nine pixels of ten keep their class, even untrained."""
    folder = exported(kind, "int8")
    model, processor = load_model(str(checkpoint))
    engine, _ = load_engine(str(folder))
    assert engine.precision == "int8"
    images = [Image.open(x).convert("RGB") for x in sorted(photos.iterdir())]
    pairs = zip(segment(model, processor, images), segment(engine, processor, images), strict=True)
    same = [(a == b).mean() for a, b in pairs]
    assert np.mean(same) > 0.9
    if kind == "onnx":
        import onnx

        weights = onnx.load(folder / "model.onnx").graph.initializer
        stored = [x for x in weights if len(x.dims) == 4]
        assert sum(x.data_type == onnx.TensorProto.INT8 for x in stored) > 0.8 * len(stored)
    else:
        assert (folder / "model.bin").stat().st_size < 0.5 * (exported(kind) / "model.bin").stat().st_size


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (ParityReport(2, 0.97, None, None), "97.00% of the pixels of 2 images: expected at least 98.00%"),
        (ParityReport(2, 0.99, 0.5, 0.49), r"mIoU 49.00 for 50.00 \(-1.00 points\): at most 0.5 points"),
    ],
)
def test_what_agrees_too_little_is_refused(found, reason, exported, checkpoint, photos, tmp_path, monkeypatch):
    from modeling_ocrnet.export import export_checkpoint as export

    kept = json.loads((exported("torch") / "export.json").read_text())
    assert kept == {"format": "torch", "precision": "fp32", "device": "cpu", "source": checkpoint.name}
    monkeypatch.setattr(export, "write", lambda model, folder, *_: (folder / "model.pt2").touch())
    monkeypatch.setattr(export, "open_export", lambda *_: None)
    monkeypatch.setattr(export, "compare", lambda *_: found)
    with pytest.raises(SystemExit, match=reason) as stop:
        script("export", checkpoint, tmp_path / "new", "--format", "torch", "--images", photos, "--agreement", "0.98")
    assert stop.value.code not in (0, None)
    assert list(tmp_path.iterdir()) == []


def test_engines_that_arent_installed_are_named(exported, checkpoint, photos, tmp_path, monkeypatch):
    folder = exported("onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(SystemExit, match=r"onnxruntime isn't installed .*pip install 'modeling-ocrnet\[onnx\]'"):
        script("predict", folder, photos, "--output", tmp_path)
    with pytest.raises(SystemExit, match=r"pip install 'modeling-ocrnet\[onnx\]'"):
        script("export", checkpoint, tmp_path / "new", "--format", "onnx", "--images", photos)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (("onnx", "--engine", "openvino"), "was exported for onnxruntime, not for openvino"),
        ((None, "--engine", "openvino"), "run ocrnet export .* --format openvino"),
        (("onnx", "--precision", "bf16"), "model.onnx: was exported in fp32, not in bf16"),
    ],
)
def test_what_doesnt_fit_the_export_is_one_line(wrong, reason, exported, checkpoint, photos, tmp_path):
    kind, *options = wrong
    with pytest.raises(SystemExit, match=reason):
        script("predict", exported(kind) if kind else checkpoint, photos, "--output", tmp_path, *options)


@pytest.mark.parametrize(("file", "content"), [("model.onnx", b"no network"), ("export.json", b'{"format": "x"}')])
def test_a_damaged_export_is_one_line(file, content, exported, photos, tmp_path):
    source, folder = exported("onnx"), tmp_path / "export"
    folder.mkdir()
    for x in source.iterdir():
        (folder / x.name).write_bytes(content if x.name == file else x.read_bytes())
    with pytest.raises(SystemExit, match=f"{file}: .*export again") as stop:
        script("predict", folder, photos, "--output", tmp_path / "out")
    assert "\n" not in str(stop.value)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_torch_that_is_too_old_is_one_line(kind, checkpoint, photos, tmp_path, monkeypatch):
    """Before anything is read or written, also where the format's packages are missing."""
    old = lambda mod, args, kwargs=None, *, dynamic_shapes=None, strict=True: pytest.fail("work has started")  # noqa: E731
    monkeypatch.setattr(torch.export, "export", old)
    monkeypatch.setattr(torch, "__version__", "2.6.0")
    for package in NEEDED.get(kind, ()):
        monkeypatch.setitem(sys.modules, package, None)
    reason = f"{kind} can't be exported: torch 2.6.0 exports programs of fixed sizes only: pip install 'torch>=2.9'"
    with pytest.raises(SystemExit) as stop:
        script("export", "no/such/checkpoint", tmp_path / "new", "--format", kind, "--images", photos)
    assert reason in str(stop.value)
    assert "\n" not in str(stop.value)
    assert list(tmp_path.iterdir()) == []


def test_nobody_is_told_of_exports():
    checker = pytest.importorskip("openvino_telemetry.utils.opt_in_checker")
    with formats.unreported():
        assert checker.OptInChecker().check(False, True) == checker.ConsentCheckResult.DECLINED
