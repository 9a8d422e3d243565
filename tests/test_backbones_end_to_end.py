"""A run over a named backbone, from the recipe to a process without the package: one of each kind, on street scenes."""

import json
import shutil

import pytest
import torch
from accelerate.state import AcceleratorState
from helpers.clean_process import run_without_the_package
from helpers.hub_on_loopback import WRITER, hub_of_this_process
from helpers.named_backbones import save_named
from helpers.signals import stop_after
from helpers.skipping import skip_if
from huggingface_hub import HfApi

from modeling_ocrnet.cli import export
from modeling_ocrnet.common.compat import program_problem
from modeling_ocrnet.evaluation.evaluate_checkpoint import EvaluationArguments, evaluate_checkpoint
from modeling_ocrnet.hub.push import push
from modeling_ocrnet.inference.loading import load_engine, load_model
from modeling_ocrnet.inference.segmentation import InferenceOptions
from modeling_ocrnet.training import loop
from modeling_ocrnet.training import recipe as R

HEADS = {"ocr_channels": 16, "key_channels": 8, "pyramid_channels": 12}
# a hierarchical one and a plain one of transformers, in a folder with its weights; the same of timm, of random weights
KINDS = ["swin", "dinov2", "test_convnext", "test_vit"]
LOAD = """
import torch
from transformers import AutoModelForSemanticSegmentation
images, expected = torch.load("expected.pt")
model = AutoModelForSemanticSegmentation.from_pretrained("me/street", trust_remote_code=True)
assert type(model).__module__.startswith("transformers_modules"), type(model)
torch.testing.assert_close(model(images).logits, expected, rtol=1e-4, atol=1e-5)
"""


@pytest.fixture(autouse=True)
def _fresh_accelerator():
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.slow
@pytest.mark.export
@pytest.mark.parametrize("kind", KINDS)
def test_from_the_recipe_to_a_process_without_the_package(kind, scenes, tmp_path, monkeypatch):
    backbone = tmp_path / "backbone"
    if kind.startswith("test_"):
        pytest.importorskip("timm")
        model = R.ModelRecipe(kind, None, HEADS)
    else:
        save_named(kind, backbone)
        model = R.ModelRecipe(str(backbone), config=HEADS)
    recipe = R.Recipe(
        data=R.DataRecipe("street_scenes", str(scenes), crop_size=(64, 96), scale=(128, 64), workers=0),
        model=model,
        optimizer=R.OptimizerRecipe("adamw", lr=1e-3, layer_decay=0.8, decay_norms_and_biases=False),
        schedule=R.ScheduleRecipe(max_steps=4),
        evaluation=R.EvaluationRecipe(every=4),
        logging=R.LoggingRecipe(every=1, pictures=1),
        global_batch=2,
        micro_batch=2,
        mixed_precision="no",
        output=str(tmp_path / "run"),
    )
    with stop_after(2), pytest.raises(SystemExit):
        loop.train(recipe)
    shutil.rmtree(backbone, ignore_errors=True)  # a resumed run needs it no more
    folder = loop.train(recipe, resume="last")

    written = json.loads((folder / "metrics.json").read_text())
    task = EvaluationArguments("street_scenes", root=str(scenes), workers=0)
    assert evaluate_checkpoint(str(folder), task, InferenceOptions())["mean_iou"] == pytest.approx(written["mean_iou"])

    network, _ = load_model(str(folder))
    images = torch.randn(1, 3, 65, 101)
    with torch.no_grad():
        expected = network(images).logits
        torch.testing.assert_close(network.fuse()(images).logits, expected, rtol=1e-4, atol=1e-5)

    with hub_of_this_process(monkeypatch) as hub:
        push(str(folder), "me/street", api=HfApi(endpoint=hub.url, token=WRITER))
        shared = hub.repositories["me/street"].files
        assert not [name for name, content in shared.items() if str(tmp_path).encode() in content]
        torch.save((images, expected), tmp_path / "expected.pt")
        run_without_the_package(LOAD, tmp_path, hub.environment(token=None))

    skip_if(program_problem())
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    options = ["--format", "onnx", "--data.name", "street_scenes", "--data.root", str(scenes)]
    command = [str(folder), "--output", str(tmp_path / "onnx"), *options]
    if kind == "swin":
        with pytest.raises(SystemExit) as refused:
            export.main(command)
        assert "a network with the backbone 'swin' can't be exported: how its windows" in str(refused.value)
        return
    if kind == "test_vit":  # under the same pyramid as DINOv2
        return
    export.main(command)
    engine, _ = load_engine(str(tmp_path / "onnx"))
    tolerance = 1e-4 * expected.abs().max().item()
    torch.testing.assert_close(engine(images).logits, expected, atol=tolerance, rtol=1e-4)
