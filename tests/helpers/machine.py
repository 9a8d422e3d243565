"""A machine whose clock the work itself moves on, for runs of so many minutes: nothing waits."""

import json
import math
from pathlib import Path

import pytest
import torch

from modeling_ocrnet.training import loop, results
from modeling_ocrnet.training.step import set_learning_rate

FLOOR, WARMUP = 1e-4, 0.1  # of `timed_recipe`: the lowest learning rate, and the share of the warm-up


class Machine:
    """The clock of a machine that becomes slower.

    Args:
        start: seconds on the clock at first.
        slow_from: when it slows down.
        factor: how much longer the same work takes then.
    """

    def __init__(self, start: float = 5.0, slow_from: float = math.inf, factor: float = 3.0):
        self.now, self.slow_from, self.factor = start, slow_from, factor

    def __call__(self) -> float:
        return self.now

    def work(self, seconds: float) -> None:
        """Do what takes so many seconds at full speed."""
        fast = min(seconds, max(0.0, self.slow_from - self.now))
        self.now += fast + (seconds - fast) * self.factor


SECONDS = {"step": 1.5, "image": 2.0, "checkpoint": 1.0, "model": 0.5, "drawing": 3.0}


def work_on(machine: Machine, seconds: dict[str, float] = SECONDS, replace=setattr) -> list[float]:
    """Let what a run does move the machine's clock on, in place of steps and evaluations; the learning rates to come.

    The network stays as it is, and is said to be right in half of the pixels.
    """
    save_checkpoint, save_model, draw = results.save_checkpoint, results.save_model, results.draw
    rates = []

    def step_for_a_while(experiment, batches, step, shutdown=None, **options):
        set_learning_rate(experiment, step)
        rates.append(experiment.optimizer.param_groups[0]["lr"])
        machine.work(seconds["step"])
        experiment.flags.submit(step, [torch.ones(3)], [["sample"]], shutdown.reason is not None)
        return dict.fromkeys(("loss", "ocr_loss", "auxiliary_loss", "pixel_accuracy"), torch.tensor(1.0))

    def evaluate_for_a_while(model, processor, dataset, *args, **options):
        machine.work(seconds["image"] * len(dataset))
        scores = dict.fromkeys(("mean_iou", "mean_accuracy", "overall_accuracy"), 0.5)
        return {**scores, "per_category_iou": [0.5] * 19}

    def take(what: str, function):
        def for_a_while(*args, **options):
            machine.work(seconds[what])
            return function(*args, **options)

        return for_a_while

    replace(loop, "use_all_cores", lambda _: None)
    replace(loop, "train_step", step_for_a_while)
    replace(results, "evaluate_model", evaluate_for_a_while)
    replace(results, "save_checkpoint", take("checkpoint", save_checkpoint))
    replace(results, "save_model", take("model", save_model))
    replace(results, "draw", take("drawing", draw))
    return rates


def steps_of(recipe) -> list[dict]:
    """The records of `metrics.jsonl` that steps have written."""
    lines = (Path(recipe.output) / "metrics.jsonl").read_text().splitlines()
    return [x for x in map(json.loads, lines) if "loss" in x]


def assert_falls_to_the_floor(rates: list[float]) -> None:
    top = rates.index(max(rates))
    assert top < len(rates) / 4
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] == pytest.approx(FLOOR, rel=1e-12)
    assert rates[-2] > FLOOR
