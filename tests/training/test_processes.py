"""Several training processes: they compute what one does, stop together, and don't wait for one that is lost."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from accelerate import Accelerator
from helpers import multiprocess
from helpers.process_state import replace_for_good
from helpers.signals import signal_process_1
from helpers.tiny import tiny_config

from modeling_ocrnet import OCRNetForSemanticSegmentation, OCRNetImageProcessor, data
from modeling_ocrnet.evaluation import mean_iou
from modeling_ocrnet.evaluation.loop import evaluate_model
from modeling_ocrnet.training import recipe as R
from modeling_ocrnet.training.checkpoint import find_checkpoints
from street_scenes import write_street_scenes

pytestmark = [pytest.mark.distributed, pytest.mark.slow]

ROOT = Path(__file__).parents[2]


def saved(recipe) -> list[str]:
    return [x.name for x in find_checkpoints(Path(recipe.output))]


def test_two_processes_train_as_one(losses):
    """Where batch norm is frozen: the same losses, whoever computes which part of the batch."""
    two, one = losses(2, 2, frozen=True), losses(1, 4, frozen=True)
    assert len(two["losses"]) == 10
    assert two["losses"] == pytest.approx(one["losses"], abs=1e-4)
    assert two["losses"][1:] != one["losses"][:-1]


def test_what_batch_norm_makes_of_two_processes(losses):
    """Without SyncBatchNorm it sees a micro-batch. Two processes train as one that accumulates, and not as one that
    takes the batch at once; and the statistics kept for evaluation are the first process's share alone."""
    two, accumulated, whole = losses(2, 2, frozen=False), losses(1, 2, frozen=False), losses(1, 4, frozen=False)
    assert two["losses"] == pytest.approx(accumulated["losses"], abs=1e-4)
    assert max(np.abs(np.subtract(two["losses"], whole["losses"]))) > 1e-3
    assert two["statistics"] != pytest.approx(accumulated["statistics"], rel=1e-3)


def write_confusion(model: Path, root: Path, target: Path) -> None:
    """The confusion matrix that a process has scored from."""
    accelerator, counts = Accelerator(), []

    scores = mean_iou.scores

    def kept(confusion, *arguments):
        counts.append(confusion)
        return scores(confusion, *arguments)

    replace_for_good(mean_iou, "scores", kept)
    network = OCRNetForSemanticSegmentation.from_pretrained(model)
    dataset, labels = data.load("street_scenes", root, "val"), data.label_set("street_scenes")
    evaluate_model(network, OCRNetImageProcessor(), dataset, accelerator, labels)
    np.save(target.with_name(f"{accelerator.num_processes}-{accelerator.process_index}.npy"), counts[0])


def test_every_number_of_processes_counts_the_same(tmp_path):
    """Seven images on one, two and three processes: identical confusion matrices, of every labelled pixel."""
    write_street_scenes(tmp_path / "scenes", train=1, val=7, size=(64, 128), seed=2)
    model = OCRNetForSemanticSegmentation(tiny_config(num_labels=19))
    torch.nn.init.normal_(model.ocr_head.classifier.weight, std=3)  # so that several classes are predicted
    model.save_pretrained(tmp_path / "model")
    for world in (1, 2, 3):
        arguments = (tmp_path / "model", tmp_path / "scenes", tmp_path / "x")
        with multiprocess.Ranks(tmp_path, write_confusion, *arguments, world=world) as run:
            assert run.exit_codes() == [0] * world, run.text()
    one = np.load(tmp_path / "1-0.npy")
    labels = [np.asarray(row["label"]) for row in data.load("street_scenes", tmp_path / "scenes", "val")]
    assert one.sum() == sum((x != data.IGNORE).sum() for x in labels)
    assert np.count_nonzero(one.sum(0)) > 3
    for name in ("2-0", "2-1", "3-0", "3-1", "3-2"):
        np.testing.assert_array_equal(np.load(tmp_path / f"{name}.npy"), one)


def test_all_processes_stop_after_the_same_step(quick_recipe, tmp_path):
    """SIGTERM to one of them; then, resumed, SIGUSR1 to every process, data workers included, as Slurm does."""
    recipe = quick_recipe(checkpoint=R.CheckpointRecipe(every=1000))
    recipe.data.workers = 1
    with multiprocess.train(
        tmp_path / "a", recipe, before=partial(signal_process_1, signal.SIGTERM, 2), world=2
    ) as run:
        assert run.exit_codes() == [143, 143]
    assert "stopped by another process after step 3: go on with --resume last" in run.last_line()
    assert saved(recipe) == ["step-0000003"]
    with multiprocess.train(tmp_path / "b", recipe, "--resume", "last", world=2) as run:
        run.until(lambda: "step 5/" in run.text())
        for process in run.processes:
            os.killpg(process.pid, signal.SIGUSR1)
        assert run.exit_codes() == [138, 138]
    (name,) = saved(recipe)[1:]
    assert f"stopped by SIGUSR1 after step {int(name[5:])}" in run.last_line()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_process_that_is_lost_ends_the_others(quick_recipe, tmp_path, how):
    """Killed, it is missed at once; where it only doesn't answer, after process_timeout."""
    recipe = quick_recipe(process_timeout=3.0 if how == signal.SIGSTOP else 1800.0)
    with multiprocess.train(tmp_path / "a", recipe, world=2) as run:
        run.until(lambda: saved(recipe))
        os.kill(run.processes[1].pid, how)
        run.until(lambda: run.processes[0].exitcode is not None, 60)
        assert run.processes[0].exitcode == 1
    said = "train.py, process 0: another training process failed, or doesn't answer ("
    assert run.last_line().startswith(said)
    assert "Traceback" not in run.text()
    assert run.last_line().removeprefix("train.py, process 0: ") in (tmp_path / "run/train.log").read_text()


def launch(recipe: Path, *options: str) -> subprocess.Popen:
    """Two processes as the README starts them under Slurm, in a process group of their own."""
    command = [sys.executable, "-m", "accelerate.commands.launch", "--main_process_port", "0"]
    command += ["--config_file", str(ROOT / "configuration/accelerate/cpu_2.yaml"), str(ROOT / "scripts/train.py")]
    command += ["--config", str(recipe), *options]
    return subprocess.Popen(
        ["bash", "-c", """trap '' USR1; exec "$@" """, "bash", *command],
        env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_signals_under_a_launcher(quick_recipe, tmp_path):
    """SIGUSR1 to every process: the launcher, told to, outlives it and waits for the checkpoint. SIGKILL to the
    launcher alone: its processes notice, save and end."""
    recipe = quick_recipe(checkpoint=R.CheckpointRecipe(every=1000))
    file, log = multiprocess.write(recipe, tmp_path), tmp_path / "run" / "train.log"
    for to, options in (("every process", []), ("the launcher", ["--resume", "last"])):
        before = log.read_text().count("step ") if log.exists() else 0
        process, everyone = launch(file, *options), []
        try:
            wait(lambda n=before: log.exists() and log.read_text().count("step ") > n + 2, process)
            everyone = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
            if to == "every process":
                for x in everyone:
                    x.send_signal(signal.SIGUSR1)
                process.communicate(timeout=120)
                assert process.returncode == 1  # it said that they ended with 138
            else:
                process.kill()
                process.wait(60)
            assert psutil.wait_procs(everyone, timeout=120)[1] == []
        finally:
            for x in psutil.wait_procs(everyone or [psutil.Process(process.pid)], timeout=0)[1]:
                x.kill()
            process.communicate()
    stops = [x.rpartition(" stopped by ")[2] for x in log.read_text().splitlines() if " stopped by " in x]
    first, second = (int(x.removeprefix("step-")) for x in saved(recipe))
    assert stops == [
        f"SIGUSR1 after step {first}: go on with --resume last",
        f"the launcher is gone after step {second}: go on with --resume last",
    ]


def wait(condition, process: subprocess.Popen | None = None, seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline or (process is not None and process.poll() is not None):
            pytest.fail(process.stderr.read()[-3000:] if process and process.poll() is not None else "waited in vain")
        time.sleep(0.1)
