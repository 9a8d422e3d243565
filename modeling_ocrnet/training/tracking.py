"""A run's logs: the log file, metrics as JSON lines, and trackers."""

from __future__ import annotations

import json
import logging
import platform
import subprocess
import time
from pathlib import Path

import torch
import yaml
from accelerate import Accelerator

from .failure import saving
from .recipe import Recipe, as_dict, flatten

logger = logging.getLogger("modeling_ocrnet.training")


def start_logging(accelerator: Accelerator, output_dir: Path) -> None:
    """Log to the console and `train.log` in the main process; other processes log only warnings, to the console."""
    package = logging.getLogger("modeling_ocrnet")
    package.handlers.clear()
    package.propagate = False
    if not accelerator.is_main_process:
        warn = logging.StreamHandler()
        warn.setFormatter(logging.Formatter(f"process {accelerator.process_index}: %(message)s"))
        package.addHandler(warn)
        package.setLevel(logging.WARNING)
        return
    form = logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S")
    for handler in (logging.StreamHandler(), logging.FileHandler(output_dir / "train.log", encoding="utf-8")):
        handler.setFormatter(form)
        package.addHandler(handler)
    package.setLevel(logging.INFO)


def log_run_header(accelerator: Accelerator, recipe: Recipe) -> None:
    """Log versions, device, processes, precision, commit and recipe."""
    logger.info(
        "torch %s on python %s, device %s (%s), processes %d, precision %s, accumulation %d, threads %d, commit %s",
        torch.__version__,
        platform.python_version(),
        accelerator.device,
        accelerator.distributed_type.value,
        accelerator.num_processes,
        accelerator.mixed_precision,
        accelerator.gradient_accumulation_steps,
        torch.get_num_threads(),
        _commit(),
    )
    logger.info("recipe:\n%s", yaml.safe_dump(as_dict(recipe), sort_keys=False, default_flow_style=None).rstrip())


def _commit() -> str:
    """The commit of this code, with `+` if files were changed since; `unknown` outside a clone."""
    here = Path(__file__).parent
    try:
        commit = ["git", "-C", str(here), "describe", "--always", "--dirty=+", "--match="]
        return subprocess.run(commit, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


class MetricsLog:
    """`metrics.jsonl` and the trackers: one record per log line or evaluation, with its `step`."""

    def __init__(self, accelerator: Accelerator, recipe: Recipe, output_dir: Path):
        self.accelerator, self.path = accelerator, output_dir / "metrics.jsonl"
        if accelerator.is_main_process and self.path.exists():
            with self.path.open("rb+") as file:
                if (content := file.read()) and not content.endswith(b"\n"):
                    file.write(b"\n")  # a crash cut the last record off: don't append the next one to it
        if recipe.logging.trackers:
            scalars = {
                k: v if isinstance(v, int | float | str | bool) else str(v) for k, v in flatten(as_dict(recipe)).items()
            }
            accelerator.init_trackers("ocrnet", config=scalars)

    def write(self, step: int, **values: float) -> None:
        """Append a record."""
        if self.accelerator.is_main_process:
            with saving(self.path), self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **values}) + "\n")
        self.accelerator.log(values, step=step)

    def read(self) -> list[dict]:
        """All records of the run, including those from before it was resumed."""
        if not self.path.exists():
            return []
        records = []
        for line in filter(str.strip, self.path.read_text(encoding="utf-8", errors="replace").splitlines()):
            try:
                records.append(json.loads(line))
            except ValueError:
                logger.warning("%s: skipping a record that a crash cut off: %s", self.path, line[:80])
        return records


class Meter:
    """Computes means of values, and the speed, since the last reading."""

    def __init__(self):
        self.reset()

    def reset(self) -> None:
        self.sums: dict[str, torch.Tensor] = {}
        self.steps, self.images, self.start = 0, 0, time.perf_counter()

    def add(self, values: dict[str, torch.Tensor], images: int) -> None:
        """Count one step."""
        for key, value in values.items():
            self.sums[key] = self.sums.get(key, 0) + value
        self.steps += 1
        self.images += images

    def read(self, accelerator: Accelerator) -> dict[str, float]:
        """Return means over steps and processes, and `images_per_second` of all processes; then reset."""
        keys = sorted(self.sums)
        means = accelerator.reduce(torch.stack([self.sums[k] for k in keys]) / self.steps, "mean").tolist()
        speed = self.images / (time.perf_counter() - self.start)
        self.reset()
        return {**dict(zip(keys, means, strict=True)), "images_per_second": speed}
