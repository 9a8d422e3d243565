"""scripts/evaluate.py from the outside: on one and on two processes, with and without labels."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import evaluate
import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import jaccard_score

from modeling_ocrnet import OCRNetConfig, OCRNetForSemanticSegmentation, OCRNetImageProcessor, data
from modeling_ocrnet.evaluation.evaluate_checkpoint import EvaluationArguments, evaluate_checkpoint
from modeling_ocrnet.evaluation.mean_iou import MeanIoU
from modeling_ocrnet.inference.segmentation import InferenceOptions, segment
from street_scenes import write_street_scenes

REPO = Path(__file__).parents[2]
LABELS = data.label_set("street_scenes")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("scenes") / "root"
    write_street_scenes(root, train=1, val=3, size=(64, 128), seed=3)
    return root


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    config = OCRNetConfig.from_variant("hr18s", num_labels=19, ocr_channels=16, key_channels=8)
    folder = tmp_path_factory.mktemp("model")
    model = OCRNetForSemanticSegmentation(config)
    torch.nn.init.normal_(model.ocr_head.classifier.weight, std=3)  # so that several classes are predicted
    model.save_pretrained(folder)
    OCRNetImageProcessor().save_pretrained(folder)
    return folder


def run(*argv, processes=1):
    launcher = [sys.executable]
    if processes > 1:
        launcher = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", "--multi_gpu"]
        launcher += ["--num_processes", str(processes), "--num_machines", "1", "--main_process_port", "0"]
        launcher += ["--mixed_precision", "no", "--dynamo_backend", "no"]
    command = [*launcher, str(REPO / "scripts" / "evaluate.py"), *map(str, argv)]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


@pytest.mark.slow
@pytest.mark.distributed
def test_two_processes_count_each_image_once(checkpoint, root, tmp_path):
    """Three images on two processes: the same record as on one, and as scikit-learn's from the predictions saved."""
    records = []
    for processes in (1, 2):
        output = tmp_path / f"{processes}.json"
        done = run(
            checkpoint, "--name", "street_scenes", "--root", root, "--output", output,
            "--save_predictions", tmp_path / "ids", "--boundaries", "true", "--workers", "1", processes=processes,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("mIoU") == 1
        records.append(json.loads(output.read_text()))
    assert records[0] == records[1]

    truths, guesses = [], []
    for row in data.load("street_scenes", root, "val"):
        truth = np.asarray(row["label"])
        ids = np.asarray(Image.open(tmp_path / "ids" / f"{row['name']}.png"))
        truths.append(truth[truth != 255])
        guesses.append(LABELS.to_train_ids[ids][truth != 255])
    truths, guesses = np.concatenate(truths), np.concatenate(guesses)
    occurring = np.union1d(truths, guesses)
    assert records[0]["mean_iou"] == pytest.approx(jaccard_score(truths, guesses, labels=occurring, average="macro"))
    assert records[0]["images"] == 3


@pytest.mark.slow
def test_a_split_without_labels_becomes_a_submission(checkpoint, root, tmp_path):
    shutil.copytree(root / "leftImg8bit" / "val", tmp_path / "root" / "leftImg8bit" / "test")
    common = ["--name", "cityscapes", "--root", tmp_path / "root", "--split", "test", "--workers", "0"]
    refused = run(checkpoint, *common)
    assert refused.returncode == 1
    assert "has no labels to score" in refused.stderr
    done = run(checkpoint, *common, "--submission", tmp_path / "out.zip")
    assert done.returncode == 0, done.stderr
    checked = run(*common, "--check_submission", tmp_path / "out.zip")
    assert checked.returncode == 0
    assert "complete and well-formed" in checked.stdout


@pytest.mark.parametrize("kept", ["save_predictions", "submission"])
def test_images_of_one_name_are_refused_before_their_predictions_overwrite_each_other(kept, root, tmp_path):
    """In Cityscapes' tree a frame is named by its file alone; there is no checkpoint, and none is asked for yet."""
    for kind in ("leftImg8bit", "gtFine"):
        city = next((root / kind / "val").iterdir())
        for copy in ("monday", "tuesday"):
            shutil.copytree(city, tmp_path / "root" / kind / "val" / copy)
    task = EvaluationArguments("cityscapes", str(tmp_path / "root"), **{kept: str(tmp_path / "out")})
    name = min(x.name.removesuffix("_leftImg8bit.png") for x in (root / "leftImg8bit" / "val").rglob("*.png"))
    with pytest.raises(data.DataError, match=f"{name}: 2 images of the split have this name .*<name>.png: rename"):
        evaluate_checkpoint(str(tmp_path / "none"), task, InferenceOptions())
    assert not (tmp_path / "out").exists()


def test_only_cityscapes_has_a_server():
    """Said before anything is segmented."""
    assert EvaluationArguments("street_scenes", submission="out.zip").submission == "out.zip"
    with pytest.raises(ValueError, match="--submission is for Cityscapes' test server, not for camvid: use --save_pre"):
        EvaluationArguments("camvid", submission="out.zip")


@pytest.mark.slow
def test_another_class_count_is_one_line(checkpoint, tmp_path):
    for folder, mode in (("val", "RGB"), ("valannot", "L")):
        (tmp_path / folder).mkdir()
        Image.new(mode, (48, 36)).save(tmp_path / folder / "a.png")
    done = run(checkpoint, "--name", "camvid", "--root", tmp_path)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].endswith("has 19 classes, camvid has 11: choose --data.name")


@pytest.mark.slow
def test_the_metric_loads_by_evaluate(checkpoint, root):
    """As `evaluate.load` finds it, a copy of the file without the package around it."""
    metric = evaluate.load(str(REPO / "modeling_ocrnet" / "evaluation" / "mean_iou.py"))
    model = OCRNetForSemanticSegmentation.from_pretrained(checkpoint).eval()
    processor = OCRNetImageProcessor.from_pretrained(checkpoint)
    ours = MeanIoU()
    for row in data.load("street_scenes", root, "val"):
        (guess,) = segment(model, processor, [row["image"]])
        for x in (metric, ours):
            x.add(prediction=guess, reference=np.asarray(row["label"]))
    loaded, imported = metric.compute(num_labels=19), ours.compute(num_labels=19)
    assert loaded["mean_iou"] == imported["mean_iou"]
    assert type(metric) is not MeanIoU
