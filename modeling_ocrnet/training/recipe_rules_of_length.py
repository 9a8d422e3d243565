"""The rules of `ocrnet configure` that depend on how long a step takes: length, rates, evaluation. See recipe_rules."""

from __future__ import annotations

import math

from .data_facts import DataFacts
from .dry_run import RunCost
from .machine_facts import MachineFacts
from .recipe_rules import EVALUATION_SHARE, FEW_IMAGES, SHORT, Choice, Start

EPOCHS = 40


def possible_steps(minutes: float, seconds: float) -> int:
    """Steps in so many minutes: a tenth is evaluation ([`evaluation_every`]), and the start takes about 20 seconds."""
    return max(1, int((60 * minutes - 20) * (1 - EVALUATION_SHARE) / seconds))


def max_steps(data: DataFacts, batch: int, cost: RunCost, minutes: float | None) -> Choice:
    """As many steps as the minutes have. Without minutes, 40 epochs (own/ocrnet_hr18s), but 500 steps at least
    (docs/results.md) and mmsegmentation's 40k at most."""
    if minutes is not None:
        steps = possible_steps(minutes, cost.step)
        return Choice(steps, f"about what {minutes:g} minutes have: a step took {cost.step:.2g} s; give --minutes too")
    wanted = EPOCHS * data.images / batch
    steps = round(min(40_000, max(500, wanted)))
    why = f"{steps * batch / data.images:.0f} epochs of {data.images} images, about {duration(steps * cost.step)}"
    return Choice(steps, why)


def optimizer(start: Start, hrnet: bool, data: DataFacts, batch: int, steps: int) -> dict[str, Choice]:
    """AdamW learns faster in short runs: 6e-3 from scratch with batches of 6 (camvid/ocrnet_hr18s_scratch, 0.53 against
    SGD's 0.29, docs/results.md), 1e-3 from weights with batches of 4 (own/laptop), half of it for few images
    (own/few_images), by the root of the batch (arXiv 2205.10287). Long runs from weights have mmsegmentation's SGD,
    0.01 with batches of 8, in proportion to the batch (arXiv 1706.02677). Other backbones than HRNet have what
    transformers are usually tuned with (cityscapes/ocrnet_dinov3-vits16_40k)."""
    if not hrnet:
        return _adamw(1e-4, "usual for this kind of backbone", 0.05)
    if start == "scratch":
        return _adamw(6e-3 * math.sqrt(batch / 6), f"AdamW from scratch: 0.006 for a batch of 6, here {batch}")
    if data.images <= FEW_IMAGES:
        return _adamw(5e-4, f"low, for {data.images} images", 0.01)
    if steps < SHORT:
        return _adamw(1e-3 * math.sqrt(batch / 4), f"AdamW from weights: 0.001 for a batch of 4, here {batch}")
    return {
        "name": Choice("sgd", f"as published: {steps} steps are enough for it"),
        "lr": Choice(_round(0.01 * batch / 8), f"0.01 for a batch of 8, here {batch}"),
    }


def _adamw(lr: float, why: str, decay: float = 1e-4) -> dict[str, Choice]:
    return {
        "name": Choice("adamw", "learns faster than SGD in a short run"),
        "lr": Choice(_round(lr), why),
        "weight_decay": Choice(decay, "AdamW's is multiplied by the rate"),
        "clip_norm": Choice(1.0, "so that no single batch spoils the moments"),
    }


def lr_multipliers(start: Start) -> Choice | None:
    """A backbone that has learnt to segment is moved a tenth as fast as the heads (own/from_cityscapes)."""
    return Choice({"backbone": 0.1}, "the model's backbone can segment already") if start == "model" else None


def warmup_steps(steps: int) -> Choice:
    """A fortieth of the run, as in own/one_gpu and own/ocrnet_hr18s, and ten steps at least."""
    return Choice(max(min(10, steps), round(steps / 40)), "a fortieth of the steps, ten at least")


def min_lr(of_optimizer: str) -> Choice:
    """mmsegmentation's floor of 1e-4 for SGD; a tenth of it for AdamW (own/laptop)."""
    return Choice(1e-4 if of_optimizer == "sgd" else 1e-5, "the last step's rate")


def ema_decay(steps: int) -> Choice:
    """An average over the last 100 or 1000 steps: it is smoother than the weights after few steps (own/laptop), and
    scores a little more on CamVid (0.533 against 0.531, docs/results.md)."""
    decay = 0.99 if steps < SHORT else 0.999
    return Choice(decay, f"the weights' average over about {round(1 / (1 - decay))} steps, smoother than the weights")


def evaluation_every(cost: RunCost, steps: int) -> Choice:
    """At most ten evaluations, of the weights and of their average, in at most a tenth of the steps' time together;
    at least the last one."""
    once = 2 * cost.image * cost.images
    count = min(10, max(1, int(EVALUATION_SHARE * steps * cost.step / max(once, 1e-9))))
    share = once * count / (steps * cost.step + once * count)
    why = f"{count} in the run, {once:.0f} s each: {share:.0%} of its time"
    return Choice(max(1, math.ceil(steps / count)), why)


def evaluation_limit(cost: RunCost, minutes: float | None) -> Choice | None:
    """If the last evaluation would take more than a fifth of the minutes, as many images as that fifth has."""
    if minutes is None or (once := 2 * cost.image * cost.images) <= 12 * minutes:
        return None
    images = max(1, int(cost.images * 12 * minutes / once))
    why = f"the first ones of {cost.images}, which would take {duration(once)}; ocrnet evaluate scores all"
    return Choice(images, why)


def window(data: DataFacts, edge: int, machine: MachineFacts) -> Choice | None:
    """Images of more than four million pixels are segmented in windows, so that memory stays bounded (docs/inference.md;
    the stride is two thirds, as mmsegmentation's)."""
    width = edge * max(data.aspect, 1 / data.aspect)
    if width * edge <= 2**22:
        return None
    side = 512 if machine.is_cpu else 1024
    return Choice([side, side], f"images of {edge} x {width:.0f} pixels at that size would take too much memory at once")


def checkpoint_every(cost: RunCost, steps: int) -> Choice:
    """Every five minutes: so much work is lost if the power fails."""
    return Choice(max(1, min(steps, round(300 / cost.step))), "every five minutes")


def logging_every(steps: int) -> Choice:
    """A few dozen lines, as in own/laptop; mmsegmentation's 50 in long runs."""
    return Choice(10, "a short run") if steps < SHORT else Choice(50, "a long run")


def workers(machine: MachineFacts) -> Choice:
    """On a CPU one, because the network has the cores (own/laptop); else one for each core but one, at most eight."""
    if machine.is_cpu:
        return Choice(1, "the network needs the cores")
    return Choice(max(1, min(8, machine.cores - 1)), f"of {machine.cores} cores")


def duration(seconds: float) -> str:
    """`40 s`, `12 min`, `3.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _round(rate: float) -> float:
    return float(f"{rate:.2g}")
