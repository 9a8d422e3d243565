"""Whole runs, small: what they leave, what they say, and how they stop."""

import json
import re
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.signals import stop_after
from PIL import Image

from modeling_ocrnet import OCRNetForSemanticSegmentation, OCRNetImageProcessor, data
from modeling_ocrnet.cli.recipe_parser import parse_recipe, recipe_parser
from modeling_ocrnet.common.runtime import disable_malloc_trim
from modeling_ocrnet.inference.segmentation import segment
from modeling_ocrnet.interop.loss_logs import read_losses
from modeling_ocrnet.training import loop
from modeling_ocrnet.training import recipe as R
from modeling_ocrnet.training.build import build_model, build_processor
from modeling_ocrnet.training.failure import NonFiniteLoss


@pytest.mark.slow
def test_what_a_run_leaves(tiny_recipe):
    recipe = tiny_recipe(checkpoint=R.CheckpointRecipe(every=1, keep_last=2))
    folder = loop.train(recipe)
    output = Path(recipe.output)
    assert folder == output / "model"

    model = OCRNetForSemanticSegmentation.from_pretrained(folder)
    assert model.config.id2label[0] == "road"
    assert len(model.config.id2label) == 19
    OCRNetImageProcessor.from_pretrained(folder)
    again, _ = parse_recipe(recipe_parser(), ["--config", str(folder / "recipe.yaml")])
    assert again == recipe

    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["step"] == 4
    assert 0 <= metrics["mean_iou"] <= 1
    known = [x for x in metrics["iou"].values() if x is not None]
    assert metrics["mean_iou"] == pytest.approx(np.mean(known))

    assert [x.name for x in sorted((output / "checkpoints").iterdir())] == ["step-0000003", "step-0000004"]
    assert (output / "best" / "model.safetensors").is_file()
    picture = Image.open(next((output / "pictures").glob("*.png")))
    assert picture.size == (3 * 128 + 2 * 4, 64)  # image, prediction, truth
    assert Image.open(output / "curve.png").width > 500
    assert not list(output.rglob(".*"))  # nothing half-written

    records = [json.loads(x) for x in (output / "metrics.jsonl").read_text().splitlines()]
    assert [r["step"] for r in records if "loss" in r] == [1, 2, 3, 4]
    for record in records[:1]:
        assert record["loss"] == pytest.approx(record["ocr_loss"] + 0.4 * record["auxiliary_loss"], rel=1e-4)
        assert record["lr"] == pytest.approx(0.01)

    log = (output / "train.log").read_text()
    for word in ("torch", "device cpu", "processes 1", "precision no", "commit", "global_batch: 4", "mIoU"):
        assert word in log
    losses = r"loss [\d.]+  ocr_loss [\d.]+  auxiliary_loss [\d.]+  pixel_accuracy [\d.]+"
    assert re.search(rf"step 4/4  {losses}  lr 1.000e-04  [\d.]+ images/s", log)


@pytest.mark.slow
def test_evaluation_agrees_with_a_loop_by_hand(tiny_recipe, scenes):
    """The scores in metrics.json are those of the saved model on the validation images."""
    from sklearn.metrics import jaccard_score

    recipe = tiny_recipe(evaluation=R.EvaluationRecipe(every=4), schedule=R.ScheduleRecipe(max_steps=2))
    folder = loop.train(recipe)
    # as trained: another memory format rounds otherwise, and a pixel whose best classes tie would change its label
    model = OCRNetForSemanticSegmentation.from_pretrained(folder).eval().to(memory_format=torch.channels_last)
    processor = OCRNetImageProcessor.from_pretrained(folder)
    truths, predictions = [], []
    for row in data.load("street_scenes", scenes, "val"):
        with torch.no_grad():
            logits = model(processor(row["image"], return_tensors="pt")["pixel_values"]).logits
        full = torch.nn.functional.interpolate(logits, size=(64, 128), mode="bilinear")
        truth = np.asarray(row["label"])
        truths.append(truth[truth != 255])
        predictions.append(full.argmax(1)[0].numpy()[truth != 255])
    truths, predictions = np.concatenate(truths), np.concatenate(predictions)
    occurring = np.union1d(truths, predictions)
    expected = jaccard_score(truths, predictions, labels=occurring, average="macro")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["mean_iou"] == pytest.approx(expected)
    assert metrics["overall_accuracy"] == pytest.approx((truths == predictions).mean())


def test_images_can_be_resized_for_evaluation(tiny_recipe, scenes):
    """As mmsegmentation's test pipeline: as large as fits into the scale, label maps still at the image's size."""
    recipe = tiny_recipe(evaluation=R.EvaluationRecipe(every=4, resize=True))
    recipe.data.scale = (64, 48)
    processor = build_processor(recipe)
    image = data.load("street_scenes", scenes, "val")[0]["image"]
    assert image.size == (128, 64)
    assert processor(image, return_tensors="pt")["pixel_values"].shape == (1, 3, 32, 64)
    model = build_model(recipe, data.label_set("street_scenes")).eval()
    assert segment(model, processor, [image])[0].shape == (64, 128)


@pytest.mark.slow
def test_the_model_zoos_lines_are_written(tiny_recipe, tmp_path, capsys):
    loop.train(tiny_recipe(logging=R.LoggingRecipe(every=1, pictures=1, modelzoo=True)))
    log = tmp_path / "run" / "modelzoo.log"
    assert read_losses(log) == pytest.approx(read_losses(tmp_path / "run" / "metrics.jsonl"))
    shape = (
        r"TCAPPDLL \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6} - Epoch: 0 Iteration: 0  rank : 0  "
        r"train\.loss : \d+\.\d+  train\.ips : \d+\.\d\d imgs/s"
    )
    assert re.fullmatch(shape, log.read_text().splitlines()[0])
    assert log.read_text() in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_a_checkpoint_first(tiny_recipe, number):
    recipe = tiny_recipe(checkpoint=R.CheckpointRecipe(every=100))
    before = signal.getsignal(number)
    with stop_after(1, number), pytest.raises(SystemExit) as caught:
        loop.train(recipe)
    assert caught.value.code == 128 + number
    assert signal.getsignal(number) == before
    assert [x.name for x in (Path(recipe.output) / "checkpoints").iterdir()] == ["step-0000001"]


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_the_run(tiny_recipe):
    recipe = tiny_recipe(optimizer=R.OptimizerRecipe(lr=1e18), checkpoint=R.CheckpointRecipe(every=1))
    with pytest.raises(NonFiniteLoss, match=r"the loss of step \d is .*nan.*samples: \w+_\d{6}_\d{6}") as caught:
        loop.train(recipe)
    step = int(re.search(r"step (\d)", str(caught.value))[1])
    saved = sorted((Path(recipe.output) / "checkpoints").iterdir())
    assert saved[-1].name == f"step-{step - 1:07d}"


@pytest.mark.slow
def test_tensorboard(tiny_recipe):
    """Its own reader finds a loss for each step."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    recipe = tiny_recipe(logging=R.LoggingRecipe(every=1, trackers=["tensorboard"], pictures=0))
    loop.train(recipe)
    events = EventAccumulator(str(next(Path(recipe.output).rglob("events.out*")).parent)).Reload()
    assert len(events.Scalars("loss")) == 4


def test_the_allocator_is_told_where_there_is_glibc():
    import platform

    assert disable_malloc_trim() == (platform.libc_ver()[0] == "glibc")
