"""Segmentation of one image: the plain model, the fused model, and the Predictor from image to label map."""

from __future__ import annotations

import copy
import tempfile
from functools import partial
from importlib.util import find_spec

import numpy as np
import torch

from modeling_ocrnet import OCRNetForSemanticSegmentation, OCRNetImageProcessor

from .comparison import DTYPES, Contender, compare, count_operations
from .section import Section
from .settings import CLASSES, Settings

VARIANT = "hr18"
BASELINE = "eager, fp32"


def inference(section: Section, settings: Settings) -> None:
    """Time each size in its share of the time."""
    section.say("Times are to logits, except for Predictor: from a uint8 array to its label map.")
    peer = find_spec("mmseg") is not None
    if not peer:
        section.say("mmsegmentation isn't installed here, so it isn't part of the comparison.")
    model = settings.model(VARIANT).eval()
    for number, size in enumerate(settings.images):
        share = section.time_left() / (len(settings.images) - number)
        makes = ways(settings, model, size)
        for precision in ("fp32", "bf16"):
            makes[f"Predictor, {precision}"] = partial(predictor, model, size, precision)
            if peer:
                makes[f"mmsegmentation, {precision}"] = partial(mmsegmentation, settings, size, precision)
        plain, fused = (count_operations(makes[name]().run) for name in (BASELINE, "fuse(), fp32"))
        operations = {name: fused if name.startswith(("fuse", "Pred")) else plain for name in makes}
        caption = f"{VARIANT}, one of {'x'.join(map(str, size))}"
        compare(section, settings, caption, makes, 1, operations, seconds=share)


def ways(settings: Settings, model: OCRNetForSemanticSegmentation, size: tuple[int, int]) -> dict:
    """Functions that create our contenders, by name; the baseline is first."""
    make = partial(network_pass, settings, model, size)
    return {
        BASELINE: partial(make, "fp32", fused=False),
        "eager, tf32": partial(make, "tf32", fused=False),
        "eager, bf16": partial(make, "bf16", fused=False),
        "eager, bf16, channels_last": partial(make, "bf16", fused=False, channels_last=True),
        "fuse(), fp32": partial(make, "fp32", fused=True, channels_last=True),
        "fuse(), tf32": partial(make, "tf32", fused=True, channels_last=True),
        "fuse(), bf16": partial(make, "bf16", fused=True, channels_last=True),
        "fuse(), bf16, kernels searched": partial(make, "bf16", fused=True, channels_last=True, search=True),
        "fuse(), fp16": partial(make, "fp16", fused=True, channels_last=True),
    }


def network_pass(
    settings: Settings,
    model: OCRNetForSemanticSegmentation,
    size: tuple[int, int],
    precision: str,
    fused: bool,
    channels_last: bool = False,
    search: bool = False,
    wrap=lambda x: x,
) -> Contender:
    """A forward pass to logits, with weights and images in `precision`; `wrap` may compile the network."""
    device = settings.device()
    form = torch.channels_last if channels_last else torch.contiguous_format
    network = (model.fuse() if fused else copy.deepcopy(model)).to(device, DTYPES[precision], memory_format=form)
    pixels = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    pixels = pixels.to(device, DTYPES[precision], memory_format=form)
    called = wrap(network)

    @torch.no_grad()
    def run():
        return called(pixels).logits

    return Contender(run, precision, search)


def predictor(model: OCRNetForSemanticSegmentation, size: tuple[int, int], precision: str) -> Contender:
    """The Predictor of a saved checkpoint, from an array to its label map."""
    from modeling_ocrnet.inference import Predictor

    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        OCRNetImageProcessor().save_pretrained(folder)
        segment = Predictor(folder, engine="torch", precision=precision)
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    return Contender(lambda: segment(image), precision)


def mmsegmentation(settings: Settings, size: tuple[int, int], precision: str) -> Contender:
    """The same network in mmsegmentation, to logits."""
    from ..peers.mmseg_speed import Logits, build, register_all_modules

    register_all_modules()
    device, dtype = settings.device(), DTYPES[precision]
    network = Logits(build({"variant": VARIANT, "classes": CLASSES})).eval().to(device, dtype)
    pixels = torch.randn(1, 3, *size, device=device, dtype=dtype)
    return Contender(torch.no_grad()(lambda: network(pixels)), precision)
