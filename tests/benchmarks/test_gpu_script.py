"""benchmarks/gpu.py, tried out on the CPU; what the traces' figures mean; parts that fail, stall and can't run."""

import json
import os
import subprocess
import sys

import pytest
import torch

from benchmarks import ROOT
from benchmarks.accelerator.run import PARTS
from benchmarks.accelerator.trace import idle_share, longest
from benchmarks.accelerator.waits import synchronisations

# the script with a part that fails planted before the last of three, and one that never ends
PLANTED = """
import sys, time
from pathlib import Path
from benchmarks.accelerator import run
from benchmarks.accelerator.settings import Settings

def broken(section, settings):
    section.say("this far")
    raise RuntimeError("planted")

def endless(section, settings):
    section.table("Known", ("what", "value"), [("so far", 7)])
    time.sleep(600)

def good(section, settings):
    section.record(answer=42)

run.GRACE = 1
parts = [run.Part("broken", broken, 1), run.Part("endless", endless, 1), run.Part("good", good, 8),
         run.Part("lacking", good, 1, ("no_such_module",))]
run.run_parts(parts, Settings.for_cpu(Path(sys.argv[1])), minutes=0.4)
"""


def python(*arguments, folder) -> subprocess.CompletedProcess:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_the_tiny_run_has_every_part(tmp_path):
    """All but the tests, which this suite could run itself (`pytest tests/gpu --gpu-on-cpu`): one of them stands in."""
    names = [x.name for x in PARTS if x.name != "tests"]
    script = str(ROOT / "benchmarks" / "gpu.py")
    done = python(script, "--tiny", "--output", "found", "--parts", *names, folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    report = (tmp_path / "found" / "report.md").read_text()
    found = json.loads((tmp_path / "found" / "results.json").read_text())["parts"]
    assert {name: x["status"] for name, x in found.items()} == dict.fromkeys(names, "done"), report
    for name in names:
        assert f"## {name}" in report
        assert f"## {name}" in done.stdout
    for contender in ("eager, fp32", "fuse(), bf16", "Predictor, fp32", "bf16 autocast, channels_last", "compiled"):
        assert f"| {contender} |" in report
    (figures,) = found["training"]["figures"].values()
    baseline = figures["contenders"]["eager, fp32"]
    assert baseline["times_as_fast"] == 1
    assert baseline["images_per_second"] == pytest.approx(1000 / baseline["milliseconds"])
    assert found["loop"]["figures"]["synchronisations_of_a_step"] == {}  # without a log line, nothing is read back
    assert len(list((tmp_path / "found").glob("trace_*.json.gz"))) == 3


@pytest.mark.slow
def test_parts_that_fail_or_stall_do_not_end_the_others(tmp_path):
    done = python("-c", PLANTED, str(tmp_path / "found"), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    parts = json.loads((tmp_path / "found" / "results.json").read_text())["parts"]
    assert {name: x["status"] for name, x in parts.items()} == {
        "broken": "failed",
        "endless": "stopped",
        "good": "done",
        "lacking": "skipped",
    }
    assert "RuntimeError: planted" in parts["broken"]["reason"]
    assert parts["broken"]["blocks"] == [{"text": "this far"}]
    assert parts["endless"]["blocks"][0]["rows"] == [["so far", "7"]]
    assert parts["good"]["figures"] == {"answer": 42}
    assert "no_such_module" in parts["lacking"]["reason"]
    report = (tmp_path / "found" / "report.md").read_text()
    assert "RuntimeError: planted" in report
    assert "| so far | 7 |" in report


@pytest.mark.slow
def test_without_an_accelerator_everything_is_skipped_with_its_reason(tmp_path):
    if torch.accelerator.is_available():
        pytest.skip("there is one")
    script = str(ROOT / "benchmarks" / "gpu.py")
    done = python(script, "--output", "found", "--parts", "environment", folder=tmp_path)
    assert done.returncode == 1
    assert "torch.accelerator finds no accelerator" in done.stdout
    assert "--tiny" in done.stdout


def test_a_value_that_is_read_back_is_counted():
    value = torch.ones(3)
    with synchronisations(torch.device("cpu")) as counts:
        value.sum().item()
        value.add_(1)
    assert counts == {"aten::_local_scalar_dense": 1}


def test_idle_is_the_time_in_which_nothing_runs():
    """Of ten microseconds, two to three and six to nine; spans may overlap, and come in any order."""
    assert idle_share([(9, 10), (0, 2), (3, 5), (4, 6)]) == pytest.approx(0.4)
    assert idle_share([]) is None


def test_kernels_are_ranked_by_their_time_together():
    work = [("a", 0, 1), ("b", 1, 4), ("a", 4, 8)]
    assert longest(work) == [("a", 2, 5, 5 / 8), ("b", 1, 3, 3 / 8)]
