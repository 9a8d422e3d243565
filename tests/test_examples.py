"""The examples run as their docstrings say, on tiny data, and what they write is what other parts of the package make
of the same weights."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.tiny import tiny_config, undecided
from PIL import Image

from modeling_ocrnet import OCRNetForSemanticSegmentation, OCRNetImageProcessor
from modeling_ocrnet.evaluation.evaluate_checkpoint import EvaluationArguments, evaluate_checkpoint
from modeling_ocrnet.inference.segmentation import InferenceOptions

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def run(name: str, *arguments, cwd: Path) -> str:
    """An example in a process of its own, with the checkout importable as after an installation; its output."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / name), *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda x: x.name)
def test_an_example_says_how_it_is_run(path):
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert f"python examples/{path.name}" in text


@pytest.mark.slow
def test_predict(tmp_path):
    """Above its legend, the picture shows the classes that the plain model finds, laid over the image."""
    torch.manual_seed(0)
    palette = [[200, 0, 0], [0, 200, 0], [0, 0, 200]]
    model, processor = OCRNetForSemanticSegmentation(tiny_config(num_labels=3, palette=palette)), OCRNetImageProcessor()
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    inputs = processor(Image.fromarray(image), return_tensors="pt")
    undecided(model, inputs["pixel_values"][0])
    for part in (model, processor):
        part.save_pretrained(tmp_path / "model")
    Image.fromarray(image).save(tmp_path / "image.png")
    run("predict.py", "model", "image.png", "--output", "seen.png", cwd=tmp_path)

    with torch.no_grad():
        labels = processor.post_process_semantic_segmentation(model(**inputs), target_sizes=[(64, 96)])[0].numpy()
    assert len(np.unique(labels)) == 3
    expected = 0.4 * image + 0.6 * np.array(palette)[labels]
    seen = np.asarray(Image.open(tmp_path / "seen.png"))[:64, :96]
    same = (abs(seen - expected) <= 1).all(2)  # in bf16, where the machine has it, some pixels change their class
    assert same.mean() > 0.95


@pytest.mark.slow
def test_minimal_loop(tmp_path):
    """On one batch the loss falls; the weights saved after five steps are those whose loss a sixth step prints."""
    tiny = ("--batch", 4, "--images", 4, "--size", 32)
    losses = {}
    for steps in (5, 6):
        printed = run("minimal_loop.py", *tiny, "--steps", steps, "--output", f"after_{steps}", cwd=tmp_path)
        losses[steps] = [float(x) for x in re.findall(r"loss (\S+)", printed)]
    assert losses[6][:5] == pytest.approx(losses[5], abs=2e-3)
    assert losses[6][5] < losses[6][0]

    sys_path = [str(ROOT / "examples"), *sys.path]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", sys_path)
        from minimal_loop import Rectangles
    samples = [Rectangles(4, 32)[i] for i in range(4)]
    batch = {key: torch.stack([x[key] for x in samples]) for key in samples[0]}
    model = OCRNetForSemanticSegmentation.from_pretrained(tmp_path / "after_5").train()
    assert model(**batch).loss.item() == pytest.approx(losses[6][5], abs=2e-3)


def test_the_minimal_loop_knows_the_model_alone():
    tree = ast.parse((ROOT / "examples" / "minimal_loop.py").read_text(encoding="utf-8"))
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            found[node.module] = {x.name for x in node.names}
        elif isinstance(node, ast.Import):
            found.update({x.name: set() for x in node.names})
    assert found.pop("modeling_ocrnet") == {"OCRNetConfig", "OCRNetForSemanticSegmentation"}
    assert {x.split(".")[0] for x in found} == {"argparse", "torch", "accelerate"}


@pytest.mark.slow
def test_trainer(tmp_path):
    """Trainer's score is that which `ocrnet evaluate` finds for the folder that was saved."""
    tiny = ("--scenes", 8, "--height", 64, "--steps", 4, "--batch", 2, "--data", "scenes", "--output", "out")
    printed = run("trainer.py", *tiny, cwd=tmp_path)
    reported = ast.literal_eval(printed.strip().splitlines()[-1])
    task = EvaluationArguments(
        "street_scenes", str(tmp_path / "scenes"), output=str(tmp_path / "scores.json"), workers=0
    )
    record = evaluate_checkpoint(str(tmp_path / "out"), task, InferenceOptions())
    assert record["mean_iou"] == pytest.approx(reported["eval_mean_iou"], abs=1e-3)
    assert record["mean_iou"] > 0


@pytest.mark.slow
def test_finetune_own_folder(tmp_path):
    """The folder that it prints is a model of the drawn classes, whose score is what `ocrnet evaluate` finds."""
    printed = run("finetune_own_folder.py", "--steps", 6, "--size", 64, "--output", "own", cwd=tmp_path)
    folder = tmp_path / printed.strip().splitlines()[-1]
    model = OCRNetForSemanticSegmentation.from_pretrained(folder)
    assert model.config.id2label == {0: "background", 1: "disc", 2: "square"}

    records = [json.loads(x) for x in (tmp_path / "own" / "metrics.jsonl").read_text().splitlines()]
    losses = [x["loss"] for x in records if "loss" in x]
    assert losses[-1] < losses[0]
    shapes = str(tmp_path / "data" / "shapes")
    task = EvaluationArguments("folder", shapes, val_share=0.2, output=str(tmp_path / "scores.json"), workers=0)
    record = evaluate_checkpoint(str(folder), task, InferenceOptions())
    (score,) = (x["mean_iou"] for x in records if "mean_iou" in x)
    assert record["mean_iou"] == pytest.approx(score, abs=1e-3)
