"""Whole runs, small: what they leave, that they resume exactly, and how they stop."""

import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
import yaml
from accelerate.state import AcceleratorState
from helpers.tiny import freeze_statistics
from PIL import Image
from safetensors.torch import load_file

from modeling_ocrnet import OCRNetForSemanticSegmentation, OCRNetImageProcessor, data
from modeling_ocrnet.cli.recipe_parser import parse_recipe, recipe_parser
from modeling_ocrnet.inference.segmentation import segment
from modeling_ocrnet.interop.loss_logs import read_losses
from modeling_ocrnet.preparation.export_dataset import export
from modeling_ocrnet.runtime import disable_malloc_trim
from modeling_ocrnet.training import dry_run as dry_run_module
from modeling_ocrnet.training import loop
from modeling_ocrnet.training import recipe as R
from modeling_ocrnet.training.build import build_accelerator, build_model, build_optimizer, build_processor
from modeling_ocrnet.training.checkpoint import CheckpointError
from modeling_ocrnet.training.dry_run import dry_run, fit_to_time_budget

ROOT = Path(__file__).parents[2]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def assert_same_weights(a: Path, b: Path):
    ours, theirs = weights(a), weights(b)
    assert ours.keys() == theirs.keys()
    assert [key for key in ours if not torch.equal(ours[key], theirs[key])] == []


def test_what_a_run_leaves(tiny_recipe):
    recipe = tiny_recipe(checkpoint=R.CheckpointRecipe(every=1, keep_last=2))
    folder = loop.train(recipe)
    output = Path(recipe.output_dir)
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
    assert re.search(rf"update 4/4  {losses}  lr 1.000e-04  [\d.]+ images/s", log)


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


def test_a_resumed_run_is_the_uninterrupted_one(tiny_recipe, tmp_path):
    model = R.ModelRecipe("hr18s", backbone=None, config={"ocr_channels": 16, "key_channels": 8, "dropout": 0.5})
    whole = loop.train(tiny_recipe(model=model))
    recipe = tiny_recipe(model=model, output_dir=str(tmp_path / "parts"))
    stop_after(3)
    with pytest.raises(SystemExit):
        loop.train(recipe)
    parts = loop.train(recipe, resume="last")
    assert_same_weights(whole, parts)
    steps = [json.loads(x)["step"] for x in (tmp_path / "parts/metrics.jsonl").read_text().splitlines()]
    assert sorted(set(steps)) == [1, 2, 3, 4]


def test_a_run_from_a_stream_resumes_where_it_stopped(tiny_recipe, scenes, tmp_path, monkeypatch):
    """From an export's Parquet, over the end of an epoch (10 samples)."""
    monkeypatch.setattr(datasets.config, "SLEEP_TIME_ON_THREADS_SHUTDOWN", 0.1)  # five seconds otherwise
    folder = export("street_scenes", str(tmp_path / "parquet"), str(scenes))
    options = {"crop_size": (32, 64), "scale": (128, 64), "workers": 0, "streaming": True, "shuffle_buffer": 4}
    source = R.DataRecipe("hub", path=str(folder), mask_column="label", **options)
    whole = loop.train(tiny_recipe(data=source))
    recipe = tiny_recipe(data=source, output_dir=str(tmp_path / "parts"))
    stop_after(3)
    with pytest.raises(SystemExit):
        loop.train(recipe)
    state = json.loads((tmp_path / "parts/checkpoints/step-0000003/state.json").read_text())
    assert state["stream"] == [[[1, 2]]]  # one process, one worker: the second epoch, two samples
    parts = loop.train(recipe, resume="last")
    assert_same_weights(whole, parts)
    source.workers = 2
    with pytest.raises(CheckpointError, match="data.workers: 0 in the checkpoint, now 2"):
        loop.train(recipe, resume="last")


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


def stop_after(updates: int, number: int = signal.SIGTERM) -> None:
    """Send this process a signal once so many updates are done."""
    update = loop.train_step

    def counted(experiment, batches, step, **kwargs):
        values = update(experiment, batches, step, **kwargs)
        if step + 1 == updates:
            loop.train_step = update
            os.kill(os.getpid(), number)
        return values

    loop.train_step = counted


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_a_checkpoint_first(tiny_recipe, number):
    recipe = tiny_recipe(checkpoint=R.CheckpointRecipe(every=100))
    before = signal.getsignal(number)
    stop_after(1, number)
    with pytest.raises(SystemExit) as caught:
        loop.train(recipe)
    assert caught.value.code == 128 + number
    assert signal.getsignal(number) == before
    assert [x.name for x in (Path(recipe.output_dir) / "checkpoints").iterdir()] == ["step-0000001"]


class InFloat64(torch.nn.Module):
    """A model of float64 weights, fed with float32 images."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, pixel_values, labels):
        return self.model(pixel_values.double(), labels=labels)


def test_gradient_accumulation_agrees_with_the_larger_batch(tiny_recipe, tmp_path):
    """Where batch norm is frozen, and no label is ignored unevenly: losses over all pixels are means of means.

    In float64: an untrained network under frozen statistics amplifies float32's rounding from update to update.
    """
    losses = {}
    for micro in (1, 4):
        recipe = tiny_recipe(
            micro_batch=micro,
            output_dir=str(tmp_path / f"micro{micro}"),
            optimizer=R.OptimizerRecipe(lr=1e-4),
            schedule=R.ScheduleRecipe(max_steps=4, min_lr=1e-5),
        )
        accelerator = build_accelerator(recipe)
        experiment = loop.build(recipe, accelerator)
        freeze_statistics(experiment.bare_model)
        experiment.model = InFloat64(experiment.bare_model.double())
        batches = loop.build_batches(experiment, 0)
        losses[micro] = [loop.train_step(experiment, batches, step)["loss"].item() for step in range(4)]
    assert losses[1] == pytest.approx(losses[4], rel=1e-9)


def test_bfloat16(tiny_recipe):
    """Autocast: weights stay in float32, and the losses stay close to float32's."""
    losses = {}
    for precision in ("no", "bf16"):
        recipe = tiny_recipe(mixed_precision=precision)
        experiment = loop.build(recipe, build_accelerator(recipe))
        batches = loop.build_batches(experiment, 0)
        losses[precision] = [loop.train_step(experiment, batches, step)["loss"].item() for step in range(3)]
        assert {p.dtype for p in experiment.bare_model.parameters()} == {torch.float32}
        AcceleratorState._reset_state(reset_partial_state=True)
    assert losses["bf16"] != losses["no"]
    assert losses["bf16"] == pytest.approx(losses["no"], rel=0.1)


@pytest.mark.parametrize(("name", "kind"), [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
def test_optimizers(tiny_recipe, name, kind):
    recipe = tiny_recipe(optimizer=R.OptimizerRecipe(name=name, lr=1e-3, weight_decay=0.02))
    optimizer = build_optimizer(build_model(recipe, data.label_set("street_scenes")), recipe)
    assert type(optimizer) is kind
    assert {g["weight_decay"] for g in optimizer.param_groups} == {0.02}


def test_the_learning_rate_of_the_heads(tiny_recipe):
    recipe = tiny_recipe(optimizer=R.OptimizerRecipe(head_lr_multiplier=10.0))
    model = build_model(recipe, data.label_set("street_scenes"))
    groups = build_optimizer(model, recipe).param_groups
    assert [g["base_lr"] for g in groups] == [0.01, 0.1]
    assert {id(p) for g in groups for p in g["params"]} == {id(p) for p in model.parameters()}
    assert len(groups[1]["params"]) == len([n for n, _ in model.named_parameters() if "head" in n])


def test_gradients_are_clipped(tiny_recipe):
    recipe = tiny_recipe(optimizer=R.OptimizerRecipe(clip_norm=1e-3, momentum=0.0, weight_decay=0.0))
    experiment = loop.build(recipe, build_accelerator(recipe))
    before = [p.detach().clone() for p in experiment.bare_model.parameters()]
    loop.train_step(experiment, loop.build_batches(experiment, 0), 0)
    moved = torch.stack(
        [(p - q).norm() for p, q in zip(experiment.bare_model.parameters(), before, strict=True)]
    ).norm()
    assert moved.item() == pytest.approx(0.01 * 1e-3, rel=1e-2)  # learning rate x norm


def test_a_loss_that_is_not_finite_stops_the_run(tiny_recipe):
    recipe = tiny_recipe(optimizer=R.OptimizerRecipe(lr=1e18), checkpoint=R.CheckpointRecipe(every=1))
    with pytest.raises(loop.NonFiniteLoss, match=r"the loss of update \d is .*nan.*samples: \w+_\d{6}_\d{6}") as caught:
        loop.train(recipe)
    step = int(re.search(r"update (\d)", str(caught.value))[1])
    saved = sorted((Path(recipe.output_dir) / "checkpoints").iterdir())
    assert saved[-1].name == f"step-{step - 1:07d}"


def test_a_new_run_does_not_write_over_an_old_one(tiny_recipe):
    recipe = tiny_recipe(schedule=R.ScheduleRecipe(max_steps=1))
    loop.train(recipe)
    with pytest.raises(CheckpointError, match="go on with --resume last, or choose another --output_dir"):
        loop.train(recipe)
    assert loop.train(recipe, resume="auto").is_dir()  # there is nothing left to do


def test_resuming_under_another_recipe_is_refused(tiny_recipe):
    loop.train(tiny_recipe(schedule=R.ScheduleRecipe(max_steps=1)))
    with pytest.raises(CheckpointError, match="schedule.max_steps: 1 in the checkpoint, now 4"):
        loop.train(tiny_recipe(), resume="last")


@pytest.mark.parametrize(
    ("resume", "message"), [("last", "no checkpoint to resume"), ("some/where", "not a checkpoint")]
)
def test_resuming_from_nothing_is_refused(tiny_recipe, resume, message):
    with pytest.raises(CheckpointError, match=message):
        loop.train(tiny_recipe(), resume=resume)


def test_impossible_runs_are_refused(tiny_recipe, monkeypatch):
    with pytest.raises(ValueError, match="asks for wandb, which isn't installed: pip install wandb"):
        build_accelerator(tiny_recipe(logging=R.LoggingRecipe(trackers=["wandb"])))
    with pytest.raises(data.DataError, match="no such folder"):
        loop.train(tiny_recipe(data=R.DataRecipe("cityscapes", "nowhere")))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="the launcher started 2 processes, but Accelerate sees 1"):
        build_accelerator(tiny_recipe())


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"variant": "hr19"}, "variant 'hr19' is unknown"),
        ({"config": {"dropuot": 0.1}}, "model.config has dropuot, which OCRNetConfig doesn't know"),
        ({"backbone_config": {"dropout": 0.1}}, "model.backbone_config has dropout, which HRNetConfig doesn't know"),
        ({"config": {"dropout": "much"}}, "model.config or model.backbone_config: .*dropout"),
        ({"config": {"class_weights": [1.0]}}, "class_weights has 1 entries for 19 classes"),
    ],
)
def test_impossible_networks_are_refused(tiny_recipe, model, message):
    with pytest.raises(ValueError, match=message):
        build_model(tiny_recipe(model=R.ModelRecipe(backbone=None, **model)), data.label_set("street_scenes"))


def test_fp16_on_a_cpu_is_refused(tiny_recipe):
    with pytest.raises(ValueError, match="fp16 on a CPU would silently be fp32"):
        build_accelerator(tiny_recipe(mixed_precision="fp16"))


def test_tensorboard(tiny_recipe):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    recipe = tiny_recipe(logging=R.LoggingRecipe(every=1, trackers=["tensorboard"], pictures=0))
    loop.train(recipe)
    events = EventAccumulator(str(next(Path(recipe.output_dir).rglob("events.out*")).parent)).Reload()
    assert len(events.Scalars("loss")) == 4


def test_a_dry_run_leaves_nothing(tiny_recipe):
    recipe = tiny_recipe()
    said = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    logging.getLogger("modeling_ocrnet.training").addHandler(handler)
    dry_run(recipe)
    logging.getLogger("modeling_ocrnet.training").removeHandler(handler)
    assert not Path(recipe.output_dir).exists()
    assert re.search(r"4 updates of [\d.]+ s and 1 evaluations of 2 images.*peak memory [\d.]+ GB", said[-1])


def test_a_run_of_so_many_minutes(tiny_recipe, monkeypatch):
    """By hand: 10 minutes are 600 s, 20 s have passed, 30 images take 1 s each, and a tenth is for the rest: 495 s are
    left for updates of 2 s."""
    monkeypatch.setattr(dry_run_module, "measure", lambda recipe, updates: dry_run_module.RunCost(2.0, 1.0, 30, 0, 0.0))
    monkeypatch.setattr(dry_run_module, "seconds_since_the_start", lambda: 20.0)
    recipe = tiny_recipe()
    assert fit_to_time_budget(recipe, 10).schedule == R.ScheduleRecipe(max_steps=200)  # 247, in steps of 50
    assert fit_to_time_budget(recipe, 0.1).schedule.max_steps == 50
    with pytest.raises(ValueError, match="minutes must be positive, got -1"):
        fit_to_time_budget(recipe, -1)

    loop.train(recipe)
    assert fit_to_time_budget(recipe, 10, "auto") == recipe  # a run that has begun keeps its length


def test_the_allocator_is_told_where_there_is_glibc():
    import platform

    assert disable_malloc_trim() == (platform.libc_ver()[0] == "glibc")


def test_the_documented_command(scenes, tmp_path):
    """Through accelerate launch, as the README has it: SIGTERM to the training process, then --resume last."""
    output = tmp_path / "run"
    recipe = {
        "data": {"name": "street_scenes", "crop_size": [32, 64], "scale": [128, 64], "workers": 1},
        "model": {"variant": "hr18s", "backbone": None, "config": {"ocr_channels": 16, "key_channels": 8}},
        "schedule": {"max_steps": 400},
        "logging": {"every": 1},
        "global_batch": 2,
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "1", "--num_machines", "1"]
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no", str(ROOT / "scripts/train.py")]
    launch += ["--config", str(tmp_path / "recipe.yaml"), "--data.root", str(scenes), "--output_dir", str(output)]
    process = subprocess.Popen(
        launch, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        lines = []
        reader = threading.Thread(target=lambda: lines.extend(iter(process.stdout.readline, "")), daemon=True)
        reader.start()
        wait_for(lambda: any("update 2/400" in x for x in lines), process, lines)
        # to the launcher alone, which doesn't pass it on: the training process must notice
        process.terminate()
        wait_for(
            lambda: (output / "checkpoints").is_dir() and any((output / "checkpoints").glob("step-*")), None, lines
        )
    finally:
        process.terminate()
        process.wait(60)  # reaped, or its group would seem alive
        deadline = time.time() + 60
        while group_alive(process.pid) and time.time() < deadline:
            time.sleep(0.2)
        left = group_alive(process.pid)
        if left:
            os.killpg(process.pid, signal.SIGKILL)
    assert not left, "processes were left running"
    (saved,) = (output / "checkpoints").iterdir()
    step = int(saved.name.removeprefix("step-"))

    done = subprocess.run(
        [*launch, "--resume", "last", "--schedule.max_steps", str(step + 1)], capture_output=True, text=True
    )
    assert done.returncode != 0
    assert f"schedule.max_steps: 400 in the checkpoint, now {step + 1}" in done.stderr + done.stdout


def group_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def wait_for(condition, process, lines, seconds=120):
    deadline = time.time() + seconds
    while not condition():
        if time.time() > deadline or (process is not None and process.poll() is not None):
            pytest.fail("".join(lines[-20:]))
        time.sleep(0.1)
