"""Sides in processes of their own, and what is said of their times."""

import json
import sys

import pytest
import torch

from modeling_ocrnet.benchmark import worker
from modeling_ocrnet.benchmark.speed import WORKER, parse_side
from modeling_ocrnet.benchmark.turns import process, summarize
from modeling_ocrnet.data.decoding import DataError
from modeling_ocrnet.training.fast_layers import convert_for_training

ECHO = """
import json, sys
print("a library's own line")
print(json.dumps({"ready": sys.argv[1]}), flush=True)
for line in sys.stdin:
    if line.strip() == "end":
        sys.exit(3)
    print("another", flush=True)
    print(json.dumps({"twice": 2 * int(line)}), flush=True)
"""


def test_a_side_answers_each_line():
    with process([sys.executable, "-c", ECHO, "yes"], "nothing") as (ready, ask):
        assert ready == {"ready": "yes"}
        assert [ask(str(x))["twice"] for x in (1, 21)] == [2, 42]


def test_a_side_that_ends_is_named_with_what_it_needs():
    with (
        process([sys.executable, "-c", ECHO, "yes"], "mmsegmentation") as (_, ask),
        pytest.raises(DataError, match="ended with code 3: is mmsegmentation installed there"),
    ):
        ask("end")


def test_ratios_are_of_neighbours():
    """A machine that slows down tenfold halfway leaves the ratio alone, where a ratio of medians would be 20."""
    summary = summarize({"fast": [1.0, 1.0, 10.0], "slow": [2.0, 20.0, 20.0]}, "slow")
    assert summary["sides"]["fast"] == {"milliseconds": 1000.0, "times_as_fast": 2.0, "quartiles": [2.0, 11.0]}
    assert summary["sides"]["slow"]["times_as_fast"] == 1.0


SPEC = {"variant": "hr18s", "size": (64, 128), "batch": 2, "classes": 19, "threads": 1}


def operations(job: str, side: str) -> int:
    """Of our side as it is launched, once it has answered."""
    spec = {**SPEC, "job": job, **parse_side(side)}
    with process([sys.executable, "-m", WORKER, json.dumps(spec)], "this package") as (ready, ask):
        answer = ask("")
    assert min(answer["seconds"], answer["cpu_seconds"], answer["peak_memory_gb"]) > 0
    return ready["operations"]


def test_our_side_works():
    """A fused pass takes fewer operations than a plain one, and so does a pass of the layers that are trained. A step
    takes about three times as many as the latter: gradients of inputs and of weights cost as much as the pass each; the
    image has none, the losses resize. Counting: none."""
    plain = operations("infer", "eager:fp32")
    assert operations("infer", "fused:fp32:keep") < 0.9 * plain
    model, images = convert_for_training(worker.build(SPEC)), torch.zeros(SPEC["batch"], 3, *SPEC["size"])
    in_training = worker.operations(lambda: model(images))
    assert in_training < 0.98 * plain
    assert operations("train", "eager:fp32:keep") == pytest.approx(3 * in_training, rel=0.02)
    assert operations("metric", "eager:fp32") == 0


@pytest.mark.parametrize("text", ["eager", "eager:fp64", "eager:fp32:always", "eager:fp32:keep:keep"])
def test_impossible_sides_are_refused(text):
    with pytest.raises(ValueError, match=f"{text}: a side is engine:precision"):
        parse_side(text)
    assert parse_side("fused:bf16:keep") == {"engine": "fused", "precision": "bf16", "keep_memory": True}
