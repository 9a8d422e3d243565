"""Two training processes, really launched, that share a stream: no sample twice, none left out, resumed in place."""

import io
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml
from datasets import Dataset, Features, Image, Value
from helpers.tiny import TINY_BACKBONE
from PIL import Image as Picture
from safetensors.torch import load_file
from torch import equal

pytestmark = [pytest.mark.distributed, pytest.mark.slow]

REPO = Path(__file__).parents[2]
SHARDS, ROWS, BATCH = 4, 6, 4  # 24 samples: an epoch is six steps
NAMES = {f"{shard}-{row}" for shard in range(SHARDS) for row in range(ROWS)}

# scripts/train.py, which also writes down what each process trains on: the step that it began at, and the names
RECORDING = """
import sys
import datasets
datasets.config.SLEEP_TIME_ON_THREADS_SHUTDOWN = 0.1  # five seconds at the end of each stream otherwise
from modeling_ocrnet.training import loop
build_batches = loop.build_batches
def recorded(experiment, start):
    for batch in build_batches(experiment, start):
        with open(f"{sys.argv[1]}/{start}-{experiment.accelerator.process_index}.txt", "a") as file:
            file.write(" ".join(batch["names"]) + "\\n")
        yield batch
loop.build_batches = recorded
sys.path.insert(0, sys.argv[2])
import train
train.main(sys.argv[3:])
"""


def encoded(pixels: np.ndarray, name: str) -> dict:
    file = io.BytesIO()
    Picture.fromarray(pixels).save(file, "PNG")
    return {"bytes": file.getvalue(), "path": f"{name}.png"}


@pytest.fixture
def folder(tmp_path):
    """Shards of Parquet, as the Hub has them."""
    folder, rng = tmp_path / "set", np.random.default_rng(0)
    (folder / "data").mkdir(parents=True)
    features = Features(image=Image(decode=False), mask=Image(decode=False), name=Value("string"))
    for split, shards in (("train", SHARDS), ("validation", 1)):
        for shard in range(shards):
            names = [f"{shard}-{row}" for row in range(ROWS)]
            rows = {
                "image": [encoded(rng.integers(0, 256, (32, 48, 3), np.uint8), name) for name in names],
                "mask": [encoded(rng.integers(0, 2, (32, 48), np.uint8), name) for name in names],
                "name": names,
            }
            file = folder / "data" / f"{split}-{shard:05d}-of-{shards:05d}.parquet"
            Dataset.from_dict(rows, features=features).to_parquet(file)
    (folder / "classes.json").write_text('["a", "b"]')
    return folder


def launch(tmp_path: Path, *options: str) -> str:
    """Two processes; what they said."""
    (tmp_path / "recording.py").write_text(RECORDING)
    command = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", "--multi_gpu"]
    command += ["--num_processes", "2", "--num_machines", "1", "--main_process_port", "0", "--mixed_precision", "no"]
    command += ["--dynamo_backend", "no", str(tmp_path / "recording.py"), str(tmp_path), str(REPO / "scripts")]
    command += ["--config", str(tmp_path / "recipe.yaml"), *options]
    environment = {
        **os.environ,
        "ACCELERATE_USE_CPU": "true",
        "PYTHONPATH": str(REPO),
        "HF_DATASETS_CACHE": str(tmp_path / "cache"),
    }
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, start_new_session=True
    )
    try:
        said, _ = process.communicate(timeout=240)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert process.returncode == 0, said[-9000:]
    return said


def steps(tmp_path: Path, start: int) -> list[list[set[str]]]:
    """What each process trained on in each step, of the run that began at `start`."""
    size = BATCH // 2
    both = [(tmp_path / f"{start}-{rank}.txt").read_text().split() for rank in range(2)]
    return [[set(names[i : i + size]) for names in both] for i in range(0, len(both[0]), size)]


def test_two_processes_share_a_stream(folder, tmp_path):
    recipe = {
        "data": {
            "name": "hub",
            "path": str(folder),
            "streaming": True,
            "shuffle_buffer": 4,
            "crop_size": [32, 32],
            "scale": [48, 32],
            "workers": 2,
        },
        "model": {
            "variant": "hr18s",
            "backbone": None,
            "backbone_config": TINY_BACKBONE,
            "config": {"ocr_channels": 16, "key_channels": 8},
        },
        "schedule": {"max_steps": 12},
        "evaluation": {"every": 12, "split": "validation"},
        "checkpoint": {"every": 5, "keep_last": 9},
        "logging": {"every": 4, "pictures": 0},
        "global_batch": BATCH,
        "micro_batch": 2,
        "output": str(tmp_path / "run"),
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    said = launch(tmp_path)
    assert "Generating train split" not in said  # to evaluate, only the other split is fetched and kept
    whole = steps(tmp_path, 0)
    assert len(whole) == 12
    for epoch in (whole[:6], whole[6:]):
        assert Counter(name for step in epoch for names in step for name in names) == dict.fromkeys(NAMES, 1)
        # four shards and four workers: each reads its own, and no process those of the other
        shards = [{name[0] for step in epoch for name in step[rank]} for rank in range(2)]
        assert [len(x) for x in shards] == [2, 2]
        assert not shards[0] & shards[1]
    assert whole[:6] != whole[6:]

    weights = load_file(tmp_path / "run" / "model" / "model.safetensors")
    said = launch(tmp_path, "--resume", str(tmp_path / "run" / "checkpoints" / "step-0000005"))
    assert "resumed from" in said
    assert steps(tmp_path, 5) == whole[5:]
    again = load_file(tmp_path / "run" / "model" / "model.safetensors")
    assert [key for key in weights if not equal(weights[key], again[key])] == []
