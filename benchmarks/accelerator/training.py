"""Training steps of the same network and batch: plain float32 compared with faster settings."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import torch

from .comparison import DTYPES, Contender, compare, count_operations
from .section import Section
from .settings import CLASSES, Settings

BASELINE = "eager, fp32"
# precision, channels_last, search
WAYS = {
    BASELINE: ("fp32", False, False),
    "tf32": ("tf32", False, False),
    "tf32, channels_last": ("tf32", True, False),
    "bf16 autocast": ("bf16", False, False),
    "bf16 autocast, channels_last": ("bf16", True, False),
    "bf16 autocast, channels_last, kernels searched": ("bf16", True, True),
    "fp16 autocast, channels_last": ("fp16", True, False),
}


def training(section: Section, settings: Settings) -> None:
    """Time each variant and batch in its share of the time."""
    section.say("A step is forward, both losses, backward, SGD with momentum; fp32 is without TF32.")
    for number, (variant, batch) in enumerate(settings.trained):
        share = section.time_left() / (len(settings.trained) - number)
        model = settings.model(variant).train()
        makes = {name: partial(training_step, settings, model, batch, *way) for name, way in WAYS.items()}
        operations = count_operations(makes[BASELINE]().run)
        size = "x".join(map(str, settings.crop))
        compare(section, settings, f"{variant}, {batch} of {size}", makes, batch, operations, seconds=share)


def training_step(
    settings: Settings,
    model: torch.nn.Module,
    batch: int,
    precision: str,
    channels_last: bool,
    search: bool,
    wrap: Callable[[torch.nn.Module], torch.nn.Module] = lambda x: x,
) -> Contender:
    """A training step of a copy of the model; `wrap` may compile it."""
    device = settings.device()
    form = torch.channels_last if channels_last else torch.contiguous_format
    model = copy.deepcopy(model).to(device, memory_format=form)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(batch, 3, *settings.crop, generator=generator).to(device, memory_format=form)
    labels = torch.randint(0, CLASSES, (batch, *settings.crop), generator=generator).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, weight_decay=5e-4)
    called = wrap(model)
    half = DTYPES[precision] if precision in ("bf16", "fp16") else None

    def step():
        with torch.autocast(device.type, half, enabled=half is not None):
            loss = called(pixels, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return Contender(step, precision, search)
