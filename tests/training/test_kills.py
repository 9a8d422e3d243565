"""Nothing is lost by `kill -9`: some of what tests/kill_and_resume.py does many of; and two processes, then one."""

import json

import numpy as np
import pytest
from helpers.crash_points import POINTS
from helpers.kill_campaign import Campaign, Run, await_end, campaign, differences, kill

from modeling_ocrnet import OCRNetForSemanticSegmentation, OCRNetImageProcessor, data
from modeling_ocrnet.evaluation.mean_iou import MeanIoU
from modeling_ocrnet.inference.segmentation import segment

pytestmark = [pytest.mark.distributed, pytest.mark.slow]


@pytest.fixture(scope="module", params=[1, 2], ids=["one_process", "two_processes"])
def undisturbed(request, tmp_path_factory) -> Campaign:
    return campaign(tmp_path_factory.mktemp("kills"), request.param, seed=0)


def test_a_run_that_is_killed_ends_as_one_that_is_not(undisturbed, capsys):
    """Samples, losses, scores and weights are the same to the bit, wherever it is killed."""
    points = {
        1: ["the optimizer's file half written", "the older checkpoint half deleted", "best/ half written"],
        2: ["a checkpoint without its name", "an evaluation's second image", "a data worker's read"],
    }[undisturbed.processes]
    assert set(points) <= set(POINTS)
    undisturbed.run(len(points) + 1, points)
    said = capsys.readouterr().out
    assert (undisturbed.tried, undisturbed.survived, undisturbed.differing) == (4, 4, []), said
    assert all(f"at {point}, after" in said for point in points)
    assert "at a random moment, after" in said


def test_a_difference_would_be_seen(undisturbed):
    """One sample, one loss, one bit of a weight."""
    run = Run(undisturbed.folder / "reference", undisturbed.scenes, undisturbed.processes)
    assert differences(run, undisturbed.reference) == []
    for name, old, new, expected in (
        ("order0.jsonl", '"pixels": ', '"pixels": 1', "samples of step 0, process 0, part 0"),
        ("run/metrics.jsonl", '"loss": ', '"loss": 1', "loss of step 1"),
        ("run/model_ema/model.safetensors", None, None, "weights in model_ema/"),
    ):
        file = run.folder / name
        before = file.read_bytes()
        if old is None:
            file.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
        else:
            file.write_bytes(before.replace(old.encode(), new.encode(), 1))
        assert differences(run, undisturbed.reference) == [expected]
        file.write_bytes(before)


@pytest.mark.parametrize("name", ["model", "model_ema"])
def test_scores_are_those_of_the_weights_that_are_saved(name, undisturbed):
    """Also where each process has batch norm statistics of its own."""
    folder = undisturbed.folder / "reference/run" / name
    model = OCRNetForSemanticSegmentation.from_pretrained(folder).eval()
    processor = OCRNetImageProcessor.from_pretrained(folder)
    metric = MeanIoU()
    for row in data.load("street_scenes", undisturbed.scenes, "val"):
        metric.add(prediction=segment(model, processor, [row["image"]])[0], reference=np.asarray(row["label"]))
    scores, said = metric.compute(num_labels=19), json.loads((folder / "metrics.json").read_text())
    assert {key: scores[key] for key in ("mean_iou", "overall_accuracy")} == pytest.approx(
        {key: said[key] for key in ("mean_iou", "overall_accuracy")}
    )


@pytest.mark.parametrize("undisturbed", [2], ids=["two_processes"], indirect=True)
def test_a_run_of_two_processes_goes_on_with_one(undisturbed):
    """With a warning, and with the same samples in the same order: part i of a step where process i had it."""
    folder = undisturbed.folder / "from_two"
    run = Run(folder, undisturbed.scenes, 2)
    with run.start("an evaluation's second image") as ranks:
        assert not await_end(ranks, (folder / "paused").exists)
        kill(ranks)
    (folder / "order1.jsonl").unlink()
    Run(folder, undisturbed.scenes, 1).finish()
    log = (folder / "run/train.log").read_text()
    assert "step-0000002 was written by 2 processes, now there are 1: the samples and their order stay" in log
    lines = [json.loads(x) for x in (folder / "order0.jsonl").read_text().splitlines()]
    lines = lines[[x.get("start") for x in lines].index(2) + 1 :]
    assert [(x["step"], x["part"]) for x in lines] == [(u, part) for u in range(2, 8) for part in (0, 1)]
    for line in lines:
        there = undisturbed.reference[f"samples of step {line['step']}, process {line['part']}, part 0"]
        assert (line["names"], line["pixels"]) == there
