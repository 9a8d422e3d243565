"""compare_loss.py: every kind of log, the model zoo's lines, and what its rule hides."""

import json
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modeling_ocrnet.interop.loss_comparison import compare, describe, draw
from modeling_ocrnet.interop.loss_logs import read_losses

SCRIPT = Path(__file__).parents[2] / "scripts" / "compare_loss.py"
ZOO = (
    "TCAPPDLL 2025-05-15 14:20:10.930385 - Epoch: 0 Iteration: {}  rank : {}  "
    "train.loss : {}  train.ips : 10415.77 imgs/s"
)
MMENGINE = (
    "2025/05/15 14:20:10 - mmengine - INFO - Iter(train) [{:5d}/40000]  base_lr: 9.9e-03 lr: 9.9e-03  "
    "eta: 1 day, 2:03:04  time: 0.5  data_time: 0.01  memory: 5000  loss: {}  decode_0.loss_ce: 0.4  "
    "decode_0.acc_seg: 61.5"
)


def write(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def test_every_kind_of_log_says_the_same(tmp_path):
    losses = {1: 2.5, 2: 1.25, 3: 0.625}
    zoo = write(tmp_path / "a.log", [ZOO.format(i - 1, 0, x) for i, x in losses.items()])
    text = write(tmp_path / "b.log", ["noise", *(MMENGINE.format(i, x) for i, x in losses.items())])
    scalars = write(tmp_path / "c.json", [json.dumps({"lr": 0.1, "loss": x, "step": i}) for i, x in losses.items()])
    old = write(tmp_path / "d.json", [json.dumps({"mode": "train", "iter": i, "loss": x}) for i, x in losses.items()])
    own = write(
        tmp_path / "e.jsonl", [*(json.dumps({"step": i, "loss": x}) for i, x in losses.items()), '{"step": 3, "mean_io']
    )
    for path in (zoo, text, scalars, old, own):
        assert read_losses(path) == losses, path.name


def test_ranks_may_share_a_line_and_are_averaged(tmp_path):
    lines = [ZOO.format(0, 0, 1.0) + ZOO.format(0, 1, 3.0), ZOO.format(1, 1, 5.0), ZOO.format(1, 0, 7.0)]
    assert read_losses(write(tmp_path / "x.log", lines)) == {1: 2.0, 2: 6.0}


def test_iterations_that_begin_anew_in_every_epoch(tmp_path):
    lines = [ZOO.format(i, 0, e + i).replace("Epoch: 0", f"Epoch: {e}") for e in range(2) for i in range(3)]
    assert read_losses(write(tmp_path / "x.log", lines)) == {1: 0, 2: 1, 3: 2, 4: 1, 5: 2, 6: 3}


def test_epochs_of_mmengine(tmp_path):
    """Steps are counted through, from the epoch and its length."""
    lines = [MMENGINE.format(2, 0.5).replace("Iter(train) [    2/40000]", f"Epoch(train) [{e}][2/3]") for e in (1, 2)]
    assert read_losses(write(tmp_path / "x.log", lines)) == {2: 0.5, 5: 0.5}


def test_the_later_of_two_records_counts(tmp_path):
    assert read_losses(write(tmp_path / "x.jsonl", ['{"step": 1, "loss": 2}', '{"step": 1, "loss": 3}'])) == {1: 3}


def test_the_model_zoos_lines():
    """Its published card, character for character, on losses made to give those means."""
    relative, absolute = -0.39036839347761293, -0.9266193532943725
    baseline = absolute / relative
    lines = describe(compare({1: baseline + absolute}, {1: baseline})).splitlines()
    number = r"-?\d+\.\d+"
    shapes = [
        rf"MeanRelativeError: ({number})",
        rf"MeanAbsoluteError: ({number})",
        rf"Rule,mean_absolute_error ({number})",
        rf"pass mean_relative_error=np\.float64\({number}\) <= 0\.05 or "
        rf"mean_absolute_error=np\.float64\({number}\) <= 0\.0002",
    ]
    found = [re.fullmatch(shape, line) for shape, line in zip(shapes, lines, strict=False)]
    assert all(found)
    assert [float(m[1]) for m in found[:3]] == pytest.approx([relative, absolute, absolute])


def test_what_the_rule_hides():
    """39% lower everywhere passes the model zoo's rule, errors of both signs as well; strictly neither does."""
    baseline = dict.fromkeys(range(10), 2.0)
    lower = compare(dict.fromkeys(range(10), 1.22), baseline)
    swinging = compare({i: 2.0 + (-1) ** i for i in range(10)}, baseline)
    for comparison in (lower, swinging):
        assert comparison.passes_model_zoo()
        assert not comparison.passes_strictly()
        assert "strict: fail" in describe(comparison)
    higher = compare(dict.fromkeys(range(10), 2.2), baseline)
    assert not higher.passes_model_zoo()
    assert describe(higher).splitlines()[3].startswith("fail mean_relative_error=")


def test_figures_agree_with_numpy():
    rng = np.random.default_rng(0)
    a, b = rng.uniform(1, 2, 50), rng.uniform(1, 2, 50)
    text = describe(compare(dict(enumerate(a)), dict(enumerate(b)) | {99: 1.0}))
    error = np.abs((a - b) / b)
    assert f"mean |relative error| {error.mean():.6f}, largest {error.max():.6f} at step {error.argmax()}" in text
    assert f"bias {(a - b).mean():+.6f}" in text
    assert "50 steps in both logs, 1 in one log only" in text


def test_pairs_by_step_not_by_position():
    comparison = compare({i: i for i in range(1, 21)}, {i: i for i in range(5, 30)})
    assert comparison.passes_strictly()
    assert (len(comparison.steps), comparison.left_out) == (16, 13)


def test_zeros_are_left_out_of_the_relative_errors():
    text = describe(compare({1: 1.0, 2: 1.0}, {1: 0.0, 2: 1.0}))
    assert "MeanRelativeError: 0.0" in text
    assert "1 steps with a baseline of zero" in text


def test_a_nan_fails():
    comparison = compare({1: float("nan"), 2: 1.0}, {1: 1.0, 2: 1.0})
    assert not comparison.passes_model_zoo()
    assert not comparison.passes_strictly()
    assert "1 steps whose loss isn't finite" in describe(comparison)


@pytest.mark.parametrize("points", [3, 40])
def test_the_picture(tmp_path, points):
    """It is drawn at its size, however few points there are."""
    losses = {i: 1 / (i + 1) for i in range(points)}
    draw(compare(losses, losses), tmp_path / "loss.jpg")
    assert Image.open(tmp_path / "loss.jpg").size == (1440, 960)


def test_the_command(tmp_path, monkeypatch, capsys):
    """Its exit code and its report, for logs whose losses are known."""
    monkeypatch.setattr(sys, "path", [str(SCRIPT.parent), *sys.path])
    main = runpy.run_path(str(SCRIPT))["main"]

    def run(*argv) -> int | str:
        with pytest.raises(SystemExit) as caught:
            main([str(x) for x in argv])
        return caught.value.code

    low = write(tmp_path / "low.log", [ZOO.format(i, 0, 1.0) for i in range(6)])
    high = write(tmp_path / "high.log", [MMENGINE.format(i + 1, 2.0) for i in range(6)])
    empty = write(tmp_path / "empty.log", ["nothing"])
    late = write(tmp_path / "late.log", [ZOO.format(100, 0, 1.0)])
    assert run("--candidate", low, "--baseline", high) == 0
    assert "MeanRelativeError: -0.5\nMeanAbsoluteError: -1.0\nRule,mean_absolute_error -1.0" in capsys.readouterr().out
    assert run("--candidate", low, "--baseline", high, "--strict") == 1
    assert run("--candidate", high, "--baseline", low, "--plot", tmp_path / "loss.png") == 1
    assert (tmp_path / "loss.png").exists()
    assert "empty.log: holds no losses; expected TCAPPDLL" in run("--candidate", low, "--baseline", empty)
    assert "the candidate has 1 to 6 (6), the baseline 101 to 101 (1)" in run("--candidate", low, "--baseline", late)
    assert "no.log" in run("--candidate", low, "--baseline", tmp_path / "no.log")
