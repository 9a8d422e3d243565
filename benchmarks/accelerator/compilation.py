"""The gain from torch.compile. This part runs last, because it compiles for minutes and uses the remaining time."""

from __future__ import annotations

from functools import partial

import torch

from .comparison import compare
from .inference import network_pass
from .section import Section
from .settings import Settings
from .training import training_step


def compilation(section: Section, settings: Settings) -> None:
    """Compare the fastest variants with their compiled versions. Each comparison is written when it is done."""
    compiled = partial(torch.compile, backend=settings.backend)
    size = settings.images[0]
    text = "x".join(map(str, size))
    fused = partial(network_pass, settings, settings.model("hr18").eval(), size, fused=True, channels_last=True)
    makes = {"fuse(), bf16": partial(fused, "bf16"), "compiled": partial(fused, "bf16", wrap=compiled)}
    compare(section, settings, f"hr18, fuse(), bf16, one of {text}", makes, 1)
    variant, batch = settings.trained[0]
    step = partial(training_step, settings, settings.model(variant).train(), batch, "bf16", True, False)
    makes = {"bf16 autocast, channels_last": step, "compiled": partial(step, wrap=compiled)}
    if section.time_left() > 0:
        compare(section, settings, f"{variant}, training, {batch} of {'x'.join(map(str, settings.crop))}", makes, batch)
    if section.time_left() > 0 and settings.backend == "inductor":
        graphs = partial(torch.compile, mode="reduce-overhead")
        makes = {"fuse(), bf16": partial(fused, "bf16"), "compiled, graphs": partial(fused, "bf16", wrap=graphs)}
        compare(section, settings, f"hr18, fuse(), bf16, one of {text}, replayed", makes, 1)
