"""Contenders in processes of their own, in turn, and what is said of their times."""

import json
import shutil
import subprocess
import sys

import pytest
import torch

from benchmarks import ROOT, worker
from benchmarks.contender import start_contender
from benchmarks.paired import by_contender, run_rounds, summarize
from benchmarks.speed import WORKER, parse_contender
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


def test_a_contender_answers_each_line():
    with start_contender([sys.executable, "-c", ECHO, "yes"], "nothing") as (ready, ask):
        assert ready == {"ready": "yes"}
        assert [ask(str(x))["twice"] for x in (1, 21)] == [2, 42]


def test_a_contender_that_ends_is_named_with_what_it_needs():
    with (
        start_contender([sys.executable, "-c", ECHO, "yes"], "mmsegmentation") as (_, ask),
        pytest.raises(DataError, match="ended with code 3: is mmsegmentation installed there"),
    ):
        ask("end")


def test_contenders_take_turns():
    """Warm-up rounds don't count, and a round that has begun is ended."""
    asked = []

    def contender(name):
        return lambda: asked.append(name) or {"seconds": len(asked)}

    contenders = {name: contender(name) for name in "ab"}
    records = run_rounds(contenders, 5, warm_up=1, enough=lambda: len(asked) >= 5, say=lambda line: None)
    assert asked == list("ababab")
    assert by_contender(records, "seconds") == {"a": [3, 5], "b": [4, 6]}
    assert [x["round"] for x in records] == [0, 0, 1, 1]


def test_ratios_are_of_neighbours():
    """A machine that slows down tenfold halfway leaves the ratio alone, where a ratio of medians would be 20."""
    summary = summarize({"fast": [1.0, 1.0, 10.0], "slow": [2.0, 20.0, 20.0]}, "slow")
    assert summary["contenders"]["fast"] == {"milliseconds": 1000.0, "times_as_fast": 2.0, "quartiles": [2.0, 11.0]}
    assert summary["contenders"]["slow"]["times_as_fast"] == 1.0


SPEC = {"variant": "hr18s", "size": (64, 128), "batch": 2, "classes": 19, "threads": 1}


def operations(job: str, contender: str) -> int:
    """Of our contender as it is launched, once it has answered."""
    spec = {**SPEC, "job": job, **parse_contender(contender)}
    command = [sys.executable, "-m", WORKER, json.dumps(spec)]
    with start_contender(command, "this package", folder=ROOT) as (ready, ask):
        answer = ask("")
    assert min(answer["seconds"], answer["cpu_seconds"], answer["peak_memory_gb"]) > 0
    return ready["operations"]


@pytest.mark.slow
def test_our_contender_works():
    """A fused pass takes fewer operations than a plain one, and so does a pass of the layers that are trained. A step
    takes about three times as many as the latter: gradients of inputs and of weights cost as much as the pass each; the
    image has none, the losses resize. Counting: none."""
    plain = operations("infer", "eager:fp32")
    assert operations("infer", "fused:fp32:no_trim") < 0.9 * plain
    model, images = convert_for_training(worker.build(SPEC)), torch.zeros(SPEC["batch"], 3, *SPEC["size"])
    in_training = worker.operations(lambda: model(images))
    assert in_training < 0.98 * plain
    assert operations("train", "eager:fp32:no_trim") == pytest.approx(3 * in_training, rel=0.02)
    assert operations("metric", "eager:fp32") == 0


@pytest.mark.parametrize("text", ["eager", "eager:fp64", "eager:fp32:always", "eager:fp32:no_trim:no_trim"])
def test_impossible_contenders_are_refused(text):
    with pytest.raises(ValueError, match=f"{text}: expected engine:precision or engine:precision:no_trim"):
        parse_contender(text)
    assert parse_contender("fused:bf16:no_trim") == {"engine": "fused", "precision": "bf16", "no_trim": True}


def test_copies_outside_a_checkout_are_refused(tmp_path):
    """In one line: what would be measured isn't there."""
    shutil.copytree(ROOT / "benchmarks", tmp_path / "benchmarks")
    done = subprocess.run([sys.executable, "-m", "benchmarks", "infer"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "need a checkout" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_the_script_finds_its_checkout_from_anywhere(tmp_path):
    script = [sys.executable, str(ROOT / "scripts" / "benchmark.py"), "metric", "--size", "[8,8]", "--rounds", "1"]
    done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[0])["contender"] == "ours eager:fp32"
