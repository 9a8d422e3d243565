"""Weights that can't be meant are refused wherever weights are read."""

import math
import time

import pytest
import torch
from helpers import reference
from helpers.skipping import skip_if
from helpers.tiny import tiny_backbone, tiny_config
from safetensors.torch import load_file, save_file

from modeling_ocrnet import HRNetBackbone, OCRNetForSemanticSegmentation, OCRNetImageProcessor
from modeling_ocrnet.common.compat import program_problem
from modeling_ocrnet.conversion.convert import convert_checkpoint, export_mmseg
from modeling_ocrnet.conversion.imagenet_hrnet import load_imagenet_backbone
from modeling_ocrnet.conversion.weights import check_weights
from modeling_ocrnet.export.export_checkpoint import ExportArguments, export_checkpoint
from modeling_ocrnet.inference import Predictor
from modeling_ocrnet.inference.loading import load_engine, load_model

BAD = [("weight", math.nan, "nan"), ("weight", math.inf, "infinite"), ("running_var", -0.25, "variance -0.25, below 0")]
for_bad = pytest.mark.parametrize(("kind", "value", "said"), BAD, ids=["nan", "infinite", "variance"])


def spoil(state, kind, value):
    """One number of one weight, whose name is returned."""
    name = next(x for x in state if x.endswith(kind) and "bn1" in x)
    state[name] = state[name].clone()
    state[name][1] = value
    return name


@pytest.fixture
def folder(tmp_path):
    OCRNetForSemanticSegmentation(tiny_config(num_labels=5)).save_pretrained(tmp_path / "model")
    OCRNetImageProcessor().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def change(folder, kind, value):
    state = load_file(folder / "model.safetensors")
    name = spoil(state, kind, value)
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    return name


def export(folder):
    export_checkpoint(str(folder), str(folder.parent / "exported"), ExportArguments(format="torch", images=["x.png"]))


def to_mmseg(folder):
    export_mmseg(str(folder), str(folder.parent / "ocrnet.pth"))


@for_bad
@pytest.mark.parametrize(
    "read", [load_model, load_engine, Predictor, export, to_mmseg], ids=lambda x: getattr(x, "__name__", "")
)
def test_a_folder_is_refused(read, kind, value, said, folder):
    skip_if(program_problem() if read is export else None)
    name = change(folder, kind, value)
    with pytest.raises(ValueError, match=said) as refused:
        read(folder if read in (export, to_mmseg) else str(folder))
    assert str(refused.value).startswith(str(folder))  # Predictor says in which precision, too
    assert f": {name} holds " in str(refused.value)
    assert "\n" not in str(refused.value)
    assert [x.name for x in folder.parent.iterdir()] == ["model"]


def test_what_half_precision_cannot_hold_is_said_to_be_its(folder):
    change(folder, "weight", 1e5)
    for precision in ("fp32", "bf16"):
        load_model(str(folder), precision)
    with pytest.raises(ValueError, match=r"model in fp16: .* holds infinite numbers"):
        load_model(str(folder), "fp16")


@for_bad
def test_a_foreign_checkpoint_is_refused(kind, value, said, tmp_path):
    state = reference.foreign_state("mmseg_hrnet_ocr_tiny")
    name = spoil(state, kind, value)
    save_file(state, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match=said) as refused:
        convert_checkpoint(tmp_path / "x.safetensors", tmp_path / "out")
    assert str(refused.value).startswith(f"{tmp_path / 'x.safetensors'}: {name} holds ")
    assert not (tmp_path / "out").exists()


@for_bad
def test_imagenet_weights_are_refused(kind, value, said, tmp_path):
    backbone = HRNetBackbone(tiny_backbone())
    state, before = backbone.state_dict(), {k: v.clone() for k, v in backbone.state_dict().items()}
    spoil(state, kind, value)
    save_file(state, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match=rf"x\.safetensors: .*{said}"):
        load_imagenet_backbone(backbone, str(tmp_path / "x.safetensors"))
    assert all(torch.equal(before[k], v) for k, v in backbone.state_dict().items())


def test_all_of_them_are_counted():
    bad, good = torch.full((2,), math.nan), torch.zeros(2)
    named = [("a", good), ("b", bad), ("c", torch.tensor(-1)), ("d.running_var", -good - 1), ("running_mean", good - 1)]
    with pytest.raises(ValueError, match=r"^here: b holds nan, and 1 more like it: "):
        check_weights(named, "here")
    check_weights([*named[:1], *named[2:3], *named[4:], ("empty", torch.zeros(0))], "here")


def test_looking_at_the_largest_network_takes_no_time():
    named = [(str(i), torch.zeros(512, 512)) for i in range(270)]  # 70 M
    began = time.process_time()  # the machine may be busy with other things
    check_weights(named, "here")
    assert time.process_time() - began < 1
