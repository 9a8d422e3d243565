"""The README's command, through accelerate launch."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

pytestmark = [pytest.mark.distributed, pytest.mark.slow]

ROOT = Path(__file__).parents[2]


def test_the_documented_command(scenes, tmp_path):
    """Through accelerate launch, as the README has it: SIGTERM to the training process, then --resume last, for which
    the module is launched as the script was."""
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
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no"]
    options = ["--config", str(tmp_path / "recipe.yaml"), "--data.root", str(scenes), "--output", str(output)]
    process = subprocess.Popen(
        [*launch, str(ROOT / "scripts/train.py"), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        lines = []
        reader = threading.Thread(target=lambda: lines.extend(iter(process.stdout.readline, "")), daemon=True)
        reader.start()
        wait_for(lambda: any("step 2/400" in x for x in lines), process, lines)
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

    again = [*launch, "-m", "modeling_ocrnet.cli.train", *options, "--resume", "last"]
    done = subprocess.run([*again, "--schedule.max_steps", str(step + 1)], capture_output=True, text=True)
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
