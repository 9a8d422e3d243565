"""The rules by which `ocrnet configure` writes a recipe: a function each, from facts to a value and the reason for it.

A rule knows nothing but its arguments, and none has seen a score of the data at hand. Its docstring says why it is so,
and where that comes from: a paper, a peer's default, a recipe of this project, or a measurement of docs/results.md.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Literal

from .data_facts import DataFacts
from .machine_facts import MachineFacts

Start = Literal["scratch", "imagenet", "model"]

RARE = 0.01  # share of the labelled pixels below which a class is rare
FEW_IMAGES = 100
SHORT = 4000  # steps of a run below which it is short
ENOUGH = 400  # steps for which a run of so many minutes makes do with smaller images
HEADROOM = 0.2  # of the free memory
EVALUATION_SHARE = 0.1  # of the run's time


@dataclass(frozen=True)
class Choice:
    """A value for a field of the recipe, and the reason for it in one line."""

    value: Any
    why: str


def variant(machine: MachineFacts, data: DataFacts, minutes: float | None) -> Choice:
    """The larger the network, the better, if there are time and images for it: HRNet-W18-small, W18 and W48 have 76.6,
    77.7 and 80.6 mIoU on Cityscapes after 40k steps, in 3.5, 4.7 and 8.0 GB (mmsegmentation's model zoo)."""
    if machine.is_cpu:
        return Choice("hr18s", "the smallest, because a CPU trains")
    if machine.memory >= 24 and data.images >= 1000 and (minutes is None or minutes >= 120):
        return Choice("hr48", f"{machine.memory:.0f} GB and {data.images} images are enough for the large one")
    return Choice("hr18", "hr48 wants 24 GB, 1000 images and two hours; hr18s is for CPUs")


def precision(machine: MachineFacts) -> Choice:
    """bf16 halves memory and time where the device computes in it; softmaxes and losses stay in float32
    (docs/training.md). Where it is emulated, it is slower than float32."""
    times = f"a convolution is {machine.bf16:.1f} times as fast in bf16 as in float32, measured here"
    return Choice("bf16", times) if machine.bf16 >= 1.5 else Choice("no", times if machine.bf16 else "bf16 isn't there")


def short_edge(data: DataFacts, machine: MachineFacts) -> Choice:
    """Images are resized to one short edge, so that a class has one size: 512 pixels on an accelerator and 256 on a CPU
    (the recipes own/one_gpu and own/laptop), never more than they have. If the thinnest class would be below two
    pixels, half of what one position of the network's output covers, it is up to four times that."""
    usual = 256 if machine.is_cpu else 512
    edge, why = min(usual, data.edge), f"the median image has {data.edge}"
    if edge < data.edge:
        why = f"{'a CPU' if machine.is_cpu else 'one accelerator'} trains: {usual} of the median image's {data.edge}"
    thin = None if data.thinnest is None else data.thickness[data.thinnest]
    if data.thinnest is not None and thin is not None and thin * edge / data.edge < 2:
        edge = round(min(data.edge, 4 * usual, max(edge, 2 * data.edge / thin)))
        left = thin * edge / data.edge
        why += f"; {data.names[data.thinnest]} is {thin:.1f} pixels thick, of which {left:.1f} are left"
    return Choice(edge, why)


def crop_size(data: DataFacts, edge: int, machine: MachineFacts) -> Choice:
    """As much of an image as is affordable, in the images' aspect: regions are sums over a crop. 240 x 320 pixels on a
    CPU (camvid/ocrnet_hr18s_scratch: nearly uncropped frames, docs/results.md), 512 x 512 on an accelerator, and
    mmsegmentation's 512 x 1024 for larger images. Multiples of 32, the network's coarsest stride."""
    area = 240 * 320 if machine.is_cpu else 512 * 512 if edge <= 512 else 512 * 1024
    aspect = min(2.0, max(0.5, data.aspect))
    whole = (edge, edge * data.aspect) if data.aspect >= 1 else (edge / data.aspect, edge)
    sides = [min(wanted, side) for wanted, side in zip(_sides(area, aspect), whole, strict=True)]
    height, width = (max(64, 32 * round(x / 32)) for x in sides)
    seen = min(1.0, height / whole[0]) * min(1.0, width / whole[1])
    return Choice([height, width], f"{seen:.0%} of a median image at that size, which is {whole[1]:.0f} x {whole[0]:.0f}")


def _sides(area: float, aspect: float) -> tuple[float, float]:
    return math.sqrt(area / aspect), math.sqrt(area * aspect)


def size_in_time(possible: int, edge: int, minutes: float) -> Choice:
    """In few minutes, more steps on smaller images teach more: 150 steps on CamVid end at 0.34, 500 at 0.53
    (docs/results.md). Sides shrink as the square root of the steps that are missing, at most to a half."""
    factor = max(0.5, math.sqrt(min(1.0, possible / ENOUGH)))
    why = f"{minutes:g} minutes have {possible} steps at {edge}, and {ENOUGH} are wanted"
    return Choice(max(64, round(edge * factor)), why)


def ratio_range(start: Start, data: DataFacts, machine: MachineFacts) -> Choice:
    """mmsegmentation's 0.5 to 2; more of it for few images (own/few_images), and less from scratch on a CPU, where
    there are too few steps to learn each object at each size (camvid/ocrnet_hr18s_scratch)."""
    if start == "scratch" and machine.is_cpu:
        return Choice([0.75, 1.5], "less than usual: from scratch, few steps learn few sizes")
    if data.images <= FEW_IMAGES:
        return Choice([0.4, 2.5], f"more than usual: {data.images} images show few sizes")
    return Choice([0.5, 2.0], "as usual")


def flip_probability(data: DataFacts) -> Choice:
    """A mirrored image is a new one, unless a class knows its side: then its labels would be wrong, but if flip_pairs
    of classes.json swaps them."""
    sided = [x for x in data.names if re.search(r"(?i)(?<![a-z])(left|right)(?![a-z])", x)]
    if sided and not data.flip_pairs:
        return Choice(0.0, f"a mirror would make {sided[0]} wrong: say in flip_pairs what it swaps, and take 0.5")
    return Choice(0.5, "mirrored images are new ones" + (", and flip_pairs swaps the sides" if sided else ""))


def sampler(data: DataFacts) -> Choice:
    """With a class below 1% of the pixels, half of the samples are drawn for the classes in turn, as NVIDIA's
    hierarchical multi-scale attention does (arXiv 2005.10821)."""
    i = data.rarest
    if i is None or len([x for x in data.shares if x]) < 2:
        return Choice("shuffle", "there is one class")
    is_rare = data.shares[i] < RARE
    has = f"the rarest class, {data.names[i]}, has {percent(data.shares[i])} of the pixels"
    return Choice("class_uniform" if is_rare else "shuffle", f"{has}: {'below' if is_rare else 'not below'} {RARE:.0%}")


def losses(data: DataFacts) -> Choice:
    """Cross-entropy alone counts pixels. Where a class has few, the Dice loss (arXiv 1606.04797), which counts classes,
    is added on the head that is used in the end. nnU-Net trains with both,
    and PaddleSeg's record on Cityscapes with Dice and a bootstrapped cross-entropy."""
    if sampler(data).value == "shuffle":
        return Choice({"cross_entropy": 1.0}, "no class is rare: the cross-entropy alone, as published")
    few = [x for x in data.shares if 0 < x < RARE]
    return Choice(
        {"cross_entropy": 1.0, "dice": 0.5},
        f"Dice counts classes, not pixels: {len(few)} of {len(data.names)} have less than {RARE:.0%} of them",
    )


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
    """From scratch on a CPU: narrow heads, which cost less, and an object context that starts at zero,
    because regions mean nothing yet (camvid/ocrnet_hr18s_scratch: 0.53 against 0.29, docs/results.md)."""
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
    return Choice(2, f"{data.images} images teach the first two stages nothing that ImageNet hasn't")


def dropout(data: DataFacts) -> Choice | None:
    """Few images are soon learnt by heart: a tenth of the heads' channels is dropped (own/few_images)."""
    return Choice(0.1, f"{data.images} images are soon learnt by heart") if data.images <= FEW_IMAGES else None


def global_batch(start: Start, data: DataFacts, machine: MachineFacts) -> Choice:
    """On an accelerator mmsegmentation's 8, and its 16 for ADE20K's 150 classes; on a CPU, where steps are dear, 6 from
    scratch (camvid/ocrnet_hr18s_scratch) and 4 from weights (own/laptop). Batch norm wants 4 or more."""
    if machine.is_cpu:
        return Choice(6, "from scratch on a CPU") if start == "scratch" else Choice(4, "from weights on a CPU")
    if len(data.names) > 100:
        return Choice(16, f"{len(data.names)} classes, of which a small batch holds few")
    return Choice(8, "as in the published recipes")


def percent(share: float) -> str:
    """A share with two digits: `0.85%`."""
    return f"{100 * share:.2g}%"


def memory_limit(machine: MachineFacts) -> float:
    """Gigabytes that a step may take: a fifth of the free memory stays free, for images that are larger than those
    measured, data workers, and other programs."""
    return (1 - HEADROOM) * machine.memory


def batch_norm_momentum(micro_batch: int) -> Choice | None:
    """Statistics over fewer than four images are noisy: their average moves more slowly, in proportion (0.1 is torch's;
    arXiv 2105.07576 on small batches)."""
    if micro_batch >= 4:
        return None
    return Choice(0.1 * micro_batch / 4, f"statistics of {micro_batch} images are noisy: they are averaged for longer")
