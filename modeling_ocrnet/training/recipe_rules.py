"""The rules by which `ocrnet configure` writes a recipe: a function each, from facts to a value and the reason for it.

A rule knows nothing but its arguments, and none has seen a score of the data at hand. Its docstring says why it is so,
and where that comes from: a paper, a peer's default, a recipe of this project, or a measurement of docs/results.md.
"""

from __future__ import annotations

import math
import re
from typing import Literal

from .choice import Choice, counted, duration, percent, two_digits
from .data_facts import DataFacts
from .dry_run import RunCost
from .machine_facts import MachineFacts

Start = Literal["scratch", "imagenet", "model"]

RARE = 0.01  # share of the labelled pixels below which a class is rare
FEW_IMAGES = 100  # or fewer
EPOCHS = 40
SHORT = 4000  # a run of fewer steps is short
ENOUGH = 400  # steps; a run of minutes that have fewer makes do with smaller images
HEADROOM = 0.2  # of the free memory
EVALUATION_SHARE = 0.1  # of the steps' time
THINNEST = 2.0  # pixels that objects should have left


def variant(machine: MachineFacts, data: DataFacts, minutes: float | None) -> Choice:
    """The larger the network, the better, if there are time and images for it: HRNet-W18-small, W18 and W48 have 76.6,
    77.7 and 80.6 mIoU on Cityscapes after 40k steps, in 3.5, 4.7 and 8.0 GB (mmsegmentation's model zoo). What is
    enough of both is an estimate."""
    if machine.is_cpu:
        return Choice("hr18s", "the smallest, because a CPU trains")
    if machine.memory >= 24 and data.images >= 1000 and (minutes is None or minutes >= 120):
        return Choice("hr48", f"{machine.memory:.0f} GB and {data.images} images are enough for the large one")
    return Choice("hr18", "hr48 wants 24 GB, 1000 images and two hours; hr18s is for CPUs")


def precision(machine: MachineFacts) -> Choice:
    """bf16 takes less memory and time where the device computes in it; softmaxes and losses stay in float32
    (docs/training.md). Where it is emulated, it is slower. How much faster it must be is an estimate."""
    times = f"a convolution is {machine.bf16:.1f} times as fast in bf16 as in float32, measured here"
    return Choice("bf16", times) if machine.bf16 >= 1.5 else Choice("no", times if machine.bf16 else "bf16 isn't there")


def short_edge(data: DataFacts, machine: MachineFacts) -> Choice:
    """Images are resized to one short edge, so that a class has one size: 512 pixels on an accelerator and 256 on a CPU
    (the recipes own/one_gpu and own/laptop), never more than they have. If the thinnest class would be below two
    pixels, half of what one position of the network's output covers, it is up to four times that."""
    usual = 256 if machine.is_cpu else 512
    edge, why = min(usual, data.edge), f"the median image has {data.edge}"
    if edge < data.edge:
        why = f"for {'a CPU' if machine.is_cpu else 'one accelerator'}, {usual} of the median image's {data.edge}"
    thin, name = data.thinnest
    if thin * edge / data.edge < THINNEST:
        edge = round(min(data.edge, 4 * usual, THINNEST * data.edge / thin))
        left = thin * edge / data.edge
        why += f"; {name} is {thin:.1f} pixels thick, of which {left:.1f} are left"
    return Choice(edge, why)


def crop_size(data: DataFacts, edge: int, machine: MachineFacts) -> Choice:
    """As much of an image as is affordable, in the images' aspect: regions are sums over a crop. 240 x 320 pixels on a
    CPU (camvid/ocrnet_hr18s_scratch: nearly uncropped frames, docs/results.md), 512 x 512 on an accelerator, and
    mmsegmentation's 512 x 1024 for larger images. Multiples of 32, the network's coarsest stride."""
    area, aspect = 512 * 512 if edge <= 512 else 512 * 1024, min(2.0, max(0.5, data.aspect))
    area = 240 * 320 if machine.is_cpu else area
    whole, affordable = data.resized(edge), (math.sqrt(area / aspect), math.sqrt(area * aspect))
    crop = [max(64, 32 * round(min(x, y) / 32)) for x, y in zip(affordable, whole, strict=True)]
    of_image = f"{data.seen(edge, crop):.0%} of the median image"
    return Choice(crop, f"{of_image}, which is {whole[1]:.0f} x {whole[0]:.0f} at that scale")


def size_in_time(possible: int, edge: int, minutes: float, data: DataFacts) -> Choice:
    """In few minutes, more steps on smaller images teach more: 150 steps on CamVid end at 0.34, 500 at 0.53
    (docs/results.md). Sides shrink as the root of the share of the steps that there is time for, at most to a half, and
    not so far that the thinnest class is lost."""
    least = min(edge, THINNEST * data.edge / data.thinnest[0])
    smaller = edge * max(0.5, math.sqrt(min(1.0, possible / ENOUGH)))
    why = f"{minutes:g} minutes have {possible} steps at {edge}, and {ENOUGH} are wanted"
    return Choice(round(max(64, least, smaller)), why)


def ratio_range(start: Start, data: DataFacts, machine: MachineFacts) -> Choice:
    """mmsegmentation's 0.5 to 2; more of it for few images (own/few_images), and less from scratch on a CPU, where
    there are too few steps to learn each object at each size. (camvid/ocrnet_hr18s_scratch has 0.95 to 1.5, for the
    frames of one camera; how much more other images vary is an estimate.)"""
    if start == "scratch" and machine.is_cpu:
        return Choice([0.75, 1.5], "less than usual: from scratch, few steps learn few sizes")
    if data.images <= FEW_IMAGES:
        return Choice([0.4, 2.5], f"more than usual: few sizes are in {counted(data.images, 'image')}")
    return Choice([0.5, 2.0], "as usual")


def flip_probability(data: DataFacts) -> Choice:
    """A mirrored image is a new one. If a class knows its side, its labels would be wrong, unless flip_pairs of
    classes.json swaps them."""
    sided = [x for x in data.names if re.search(r"(?i)(?<![a-z])(left|right)(?![a-z])", x)]
    if sided and not data.flip_pairs:
        return Choice(0.0, f"a mirror would make {sided[0]} wrong: say in flip_pairs what it swaps, and take 0.5")
    return Choice(0.5, "mirrored images are new ones" + (", and flip_pairs swaps the sides" if sided else ""))


def sampler(data: DataFacts) -> Choice:
    """With a class below 1% of the pixels, half of the samples are drawn for the classes in turn, as NVIDIA's
    hierarchical multi-scale attention does for any data (arXiv 2005.10821). The 1% is an estimate. With Dice and class
    weights, a class of 1% was found with it, and not without; alone, on nearly uncropped CamVid, it brought nothing
    (docs/results.md)."""
    i = data.rarest
    if i is None:
        return Choice("shuffle", "no class has pixels")
    rare, has = data.shares[i] < RARE, f"the rarest class, {data.names[i]}, has {percent(data.shares[i])} of the pixels"
    return Choice("class_uniform" if rare else "shuffle", f"{has}: {'below' if rare else 'not below'} {RARE:.0%}")


def losses(data: DataFacts) -> Choice:
    """Cross-entropy alone counts pixels. Where a class has few, the Dice loss (arXiv 1606.04797), which counts classes,
    is added on the head that is used in the end: it brought a little on CamVid (docs/results.md). nnU-Net trains with
    both, with equal weights; half is an estimate."""
    if not (few := [x for x in data.shares if 0 < x < RARE]):
        return Choice({"cross_entropy": 1.0}, "no class is rare: the cross-entropy alone, as published")
    why = f"Dice counts classes, not pixels: {len(few)} of {len(data.names)} have less than {RARE:.0%} of them"
    return Choice({"cross_entropy": 1.0, "dice": 0.5}, why)


def class_weights(start: Start, data: DataFacts) -> Choice | None:
    """From scratch, a short run learns the frequent classes alone. (Share of the pixels) ** -0.4 evens that out
    (camvid/ocrnet_hr18s_scratch, docs/results.md); at most 10, so that a class of three pixels rules nothing."""
    if start != "scratch" or data.rarest is None:
        return None
    weights = [round(min(10.0, x), 2) for x in data.weights]
    i, j = data.rarest, max(range(len(weights)), key=data.shares.__getitem__)
    why = f"(share of the pixels) ** -0.4: {weights[i]} for {data.names[i]}, {weights[j]} for {data.names[j]}"
    return Choice(weights, why)


def heads(start: Start, machine: MachineFacts) -> dict[str, Choice]:
    """From scratch on a CPU: narrow heads, which cost less, and an object context that starts at zero, because regions
    mean nothing yet (camvid/ocrnet_hr18s_scratch; all of its changes together make 0.53 of 0.29, docs/results.md)."""
    if start != "scratch" or not machine.is_cpu:
        return {}
    narrow = "a narrow head: from scratch on a CPU, more steps are worth more than width"
    return {
        "ocr_channels": Choice(128, narrow),
        "key_channels": Choice(64, "as narrow"),
        "auxiliary_channels": Choice(128, "as narrow"),
        "zero_init_context": Choice(True, "regions mean nothing in the first steps"),
        "classifier_initializer_range": Choice(0.1, "classes part sooner"),
    }


def freeze(start: Start, data: DataFacts) -> Choice | None:
    """Few images teach a pretrained backbone's first stages nothing new (own/few_images)."""
    if start != "imagenet" or data.images > FEW_IMAGES:
        return None
    return Choice(2, "so few images teach the first two stages nothing that ImageNet hasn't")


def dropout(data: DataFacts) -> Choice | None:
    """Few images are soon learnt by heart: a tenth of the heads' channels is dropped (own/few_images)."""
    return Choice(0.1, "so few images are soon learnt by heart") if data.images <= FEW_IMAGES else None


def global_batch(start: Start, data: DataFacts, machine: MachineFacts) -> Choice:
    """On an accelerator mmsegmentation's 8, and its 16 for ADE20K's 150 classes; on a CPU, where steps are dear, 6 from
    scratch (camvid/ocrnet_hr18s_scratch) and 4 from weights (own/laptop). Batch norm wants 4 or more."""
    if machine.is_cpu:
        return Choice(6, "from scratch on a CPU") if start == "scratch" else Choice(4, "from weights on a CPU")
    if len(data.names) > 100:
        return Choice(16, f"{len(data.names)} classes, of which a small batch holds few")
    return Choice(8, "as in the published recipes")


def memory_limit(machine: MachineFacts) -> float:
    """Gigabytes that a step may take: a fifth of the free memory stays free, for images that are larger than those
    measured, data workers, and other programs."""
    return (1 - HEADROOM) * machine.memory


def batch_norm_momentum(micro_batch: int) -> Choice | None:
    """Statistics over fewer than four images are noisy: their average moves more slowly, in proportion (0.1 is torch's;
    arXiv 2105.07576 on small batches)."""
    why = f"statistics of {micro_batch} images are noisy: they are averaged for longer"
    return Choice(0.1 * micro_batch / 4, why) if micro_batch < 4 else None


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
    epochs = f"{steps * batch / data.images:.0f} epochs of {counted(data.images, 'image')}"
    return Choice(steps, f"{epochs}, about {duration(steps * cost.step)}")


def optimizer(start: Start, published: bool, data: DataFacts, batch: int, steps: int) -> dict[str, Choice]:
    """AdamW learns faster in short runs: 6e-3 from scratch with batches of 6 (camvid/ocrnet_hr18s_scratch), 1e-3 from
    weights with batches of 4 (own/laptop), half of it for few images (own/few_images), by the root of the batch (arXiv
    2205.10287). Long runs from weights have mmsegmentation's SGD, 0.01 with batches of 8, in proportion to the batch
    (arXiv 1706.02677). Backbones other than HRNet and R101-d8, which mmsegmentation published OCRNet with, have what
    transformers are usually tuned with (cityscapes/ocrnet_dinov3-vits16_40k)."""
    if not published:
        return _adamw(1e-4, "usual for this kind of backbone", 0.05)
    if start == "scratch":
        return _adamw(6e-3 * math.sqrt(batch / 6), f"AdamW from scratch: 0.006 for a batch of 6, here {batch}")
    if data.images <= FEW_IMAGES:
        return _adamw(5e-4, f"low, for {counted(data.images, 'image')}", 0.01)
    if steps < SHORT:
        return _adamw(1e-3 * math.sqrt(batch / 4), f"AdamW from weights: 0.001 for a batch of 4, here {batch}")
    return {
        "name": Choice("sgd", f"as published: {steps} steps are enough for it"),
        "lr": Choice(two_digits(0.01 * batch / 8), f"0.01 for a batch of 8, here {batch}"),
    }


def _adamw(lr: float, why: str, decay: float = 1e-4) -> dict[str, Choice]:
    return {
        "name": Choice("adamw", "learns faster than SGD in a short run"),
        "lr": Choice(two_digits(lr), why),
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
    """An average over the last 100 or 1000 steps is kept beside the weights, and scored with them (own/laptop). On
    CamVid it scores a little more after 500 steps (0.533 against 0.531), and less after 150 (docs/results.md)."""
    decay = 0.99 if steps < SHORT else 0.999
    return Choice(decay, f"the weights' average over about {round(1 / (1 - decay))} steps, smoother than the weights")


def evaluation_every(cost: RunCost, steps: int) -> Choice:
    """At most ten evaluations, of the weights and of their average, in at most a tenth of the steps' time together;
    at least the last one."""
    once = 2 * cost.image * cost.images
    count = min(10, max(1, int(EVALUATION_SHARE * steps * cost.step / max(once, 1e-9))))
    share = once * count / (steps * cost.step + once * count)
    why = f"{count} in the run, {duration(once)} each: {share:.0%} of its time"
    return Choice(max(1, math.ceil(steps / count)), why)


def evaluation_limit(cost: RunCost, minutes: float | None) -> Choice | None:
    """If the last evaluation would take more than a fifth of the minutes, as many images as that fifth has."""
    if minutes is None or (once := 2 * cost.image * cost.images) <= 12 * minutes:
        return None
    images = max(1, int(cost.images * 12 * minutes / once))
    why = f"the first ones of {cost.images}, which would take {duration(once)}; ocrnet evaluate scores all"
    return Choice(images, why)


def window(data: DataFacts, edge: int, machine: MachineFacts) -> Choice | None:
    """Images of more than four million pixels are segmented in windows, so that memory stays bounded
    (docs/inference.md); their stride is two thirds, as mmsegmentation's."""
    width = edge * max(data.aspect, 1 / data.aspect)
    if width * edge <= 2**22:
        return None
    side = 512 if machine.is_cpu else 1024
    return Choice([side, side], f"{edge} x {width:.0f} pixels at once would take too much memory")


def kept(cost: RunCost, steps: int) -> dict[str, Choice]:
    """A checkpoint every five minutes: so much work is lost if the power fails. Log lines as in own/laptop, in long
    runs as mmsegmentation's."""
    return {
        "checkpoint.every": Choice(max(1, min(steps, round(300 / cost.step))), "every five minutes"),
        "logging.every": Choice(10, "a short run") if steps < SHORT else Choice(50, "a long run"),
    }


def workers(machine: MachineFacts) -> Choice:
    """On a CPU one, because the network has the cores (own/laptop); else one for each core but one, at most eight."""
    if machine.is_cpu:
        return Choice(1, "the network needs the cores")
    return Choice(max(1, min(8, machine.cores - 1)), f"of {machine.cores} cores")
