"""What `ocrnet configure` lets a run start from: a model that is named, ImageNet weights if they can be had, or
none."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache

from ..common.errors import UserError
from ..configuration_hrnet import VARIANTS
from ..conversion.imagenet import IMAGENET_WEIGHTS
from ..conversion.named_backbone import PUBLISHED
from ..conversion.starting_model import read_starting_model
from . import recipe_rules as rules
from .choice import Choice
from .data_facts import DataFacts
from .machine_facts import MachineFacts
from .recipe_rules import Start
from .start import variant_of

if TYPE_CHECKING:
    from .configure import Wishes

_SECONDS = 10  # that the Hub may take to answer


@dataclass(frozen=True)
class StartingPoint:
    """What a run starts from.

    Args:
        kind: nothing, ImageNet weights, or a whole model.
        variant: the architecture.
        choices: the fields that say so.
    """

    kind: Start
    variant: str
    choices: dict[str, Choice]

    @property
    def hrnet(self) -> bool:
        return self.variant in VARIANTS or self.variant.startswith("an HRNet")

    @property
    def published(self) -> bool:
        """Whether mmsegmentation has published OCRNet with such a backbone."""
        return self.hrnet or self.variant in PUBLISHED


def starting_point(wishes: Wishes, machine: MachineFacts, data: DataFacts) -> StartingPoint:
    """Choose what to start from.

    Raises:
        UserError: if the model that is named can't be read, or isn't an OCRNet; if the backbone's file isn't there.
    """
    if wishes.init_from is not None:
        found = variant_of(read_starting_model(wishes.init_from).config)
        choice = Choice(wishes.init_from, f"given ({found}): architecture and normalisation are its own")
        return StartingPoint("model", found, {"model.init_from": choice})
    named = Choice(wishes.variant, "given") if wishes.variant else rules.variant(machine, data, wishes.minutes)
    weights = IMAGENET_WEIGHTS.get(named.value, named.value)
    if wishes.backbone != "auto":
        _check_file(wishes.backbone)
        kind: Start = "scratch" if wishes.backbone is None else "imagenet"
        backbone = Choice(wishes.backbone, "given: from scratch" if wishes.backbone is None else "given")
    else:
        kind, why = _where(weights)
        backbone = Choice("auto" if kind == "imagenet" else None, why)
    choices = {"model.variant": named, "model.backbone": backbone}
    if kind == "scratch" and named.value in VARIANTS:
        why = "each residual block starts as the identity: the first steps learn more"
        choices["model.backbone_config.zero_init_residual"] = Choice(True, why)
    return StartingPoint(kind, named.value, choices)


def _check_file(backbone: str | None) -> None:
    """Check that a backbone that is named as a file is there: a step is measured without its weights.

    Raises:
        UserError: if not.
    """
    if backbone is None or not backbone.endswith((".pth", ".pt", ".bin", ".safetensors")):
        return
    if not Path(backbone).expanduser().exists():
        raise UserError(f"--model.backbone {backbone}: no such file; give the weights' path, or auto for ImageNet's")


def _where(weights: str) -> tuple[Start, str]:
    """Whether ImageNet weights of the Hub can be had, and why."""
    if Path(weights).expanduser().is_dir() or isinstance(try_to_load_from_cache(weights, "model.safetensors"), str):
        return "imagenet", f"ImageNet's, {weights}, which are on this machine"
    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    remedy = f"with {weights} (a connection, or model.backbone FILE) configure again: it starts far ahead"
    if offline:
        return "scratch", f"from scratch, because HF_HUB_OFFLINE is set and the cache has no weights: {remedy}"
    try:
        get_hf_file_metadata(hf_hub_url(weights, "model.safetensors"), timeout=_SECONDS)
    except Exception:  # whatever keeps it from being reached keeps it from being downloaded
        return "scratch", f"from scratch, because the Hub doesn't answer for the weights: {remedy}"
    return "imagenet", f"ImageNet's, {weights}, which the Hub has"
