"""Our contender in a speed benchmark, as a separate process:

    python -m benchmarks.worker '{"job": "infer", ...}'

It takes the same JSON as `benchmarks/peers/mmseg_speed.py`, and its input and output have the same format.
"""

from __future__ import annotations

import atexit
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from modeling_ocrnet.common.runtime import disable_malloc_trim
from modeling_ocrnet.configuration_ocrnet import OCRNetConfig
from modeling_ocrnet.evaluation.mean_iou import MeanIoU
from modeling_ocrnet.export.formats import write
from modeling_ocrnet.image_processing_ocrnet import OCRNetImageProcessor
from modeling_ocrnet.inference import Predictor
from modeling_ocrnet.inference.engines.engine import FORMATS, Export, open_export
from modeling_ocrnet.modeling_ocrnet import OCRNetForSemanticSegmentation
from modeling_ocrnet.training.fast_layers import convert_for_training


def build(spec: dict) -> OCRNetForSemanticSegmentation:
    return OCRNetForSemanticSegmentation(OCRNetConfig.from_variant(spec["variant"], num_labels=spec["classes"]))


def operations(run: Callable[[], object]) -> int:
    """The number of additions and multiplications in convolutions and matrix products."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


class Logits(nn.Module):
    """Returns only the logits, at the network's output resolution."""

    def __init__(self, model: OCRNetForSemanticSegmentation):
        super().__init__()
        self.model = model

    def forward(self, pixel_values: Tensor) -> Tensor:
        return self.model(pixel_values, return_dict=False)[0]


def inference(spec: dict) -> tuple[Callable[[], object], Callable[[], object]]:
    """The function to time, and the same in plain torch, to count its operations.

    Engines are eager (the model unchanged), fused, compile, onnxruntime and openvino (all three run the fused model),
    and predictor (from an image to its label map, by the fastest engine here).
    """
    model, pixels = build(spec).eval(), torch.randn(spec["batch"], 3, *spec["size"])
    if spec["engine"] == "predictor":
        return predictor(model, spec), partial(torch.no_grad()(model.fuse()), pixels)
    if spec["engine"] != "eager":
        model = model.fuse()
        pixels = pixels.contiguous(memory_format=torch.channels_last)
    net = Logits(model)

    @torch.no_grad()
    def plain():
        return net(pixels)

    if spec["engine"] in ("onnxruntime", "openvino"):
        return exported(model, pixels, spec), plain
    if spec["precision"] == "bf16":
        net, pixels = net.bfloat16(), pixels.bfloat16()
    if spec["engine"] != "compile":
        return plain, plain
    torch._inductor.config.freezing = True
    compiled = torch.compile(net)
    return torch.no_grad()(lambda: compiled(pixels)), plain


def predictor(model: OCRNetForSemanticSegmentation, spec: dict) -> Callable[[], object]:
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)
    model.save_pretrained(folder)
    OCRNetImageProcessor().save_pretrained(folder)
    image = np.random.default_rng(0).integers(0, 256, (*spec["size"], 3), np.uint8)
    return partial(Predictor(folder, precision=spec["precision"]).warmup(spec["size"]), [image] * spec["batch"])


def exported(model: OCRNetForSemanticSegmentation, pixels: Tensor, spec: dict) -> Callable[[], object]:
    """A function that runs the model in another runtime, loaded as exports are. int8 is calibrated on noise, which is
    enough to measure speed."""
    kind = next(name for name, form in FORMATS.items() if form.engine == spec["engine"])
    with tempfile.TemporaryDirectory() as folder:
        write(model, Path(folder), kind, spec["precision"], [torch.randn_like(pixels).numpy() for _ in range(2)])
        engine = open_export(Path(folder), Export(kind, spec["precision"], "cpu", "noise"), model.config)
        engine(pixels)
    return partial(engine, pixels)


def training(spec: dict) -> tuple[Callable[[], object], Callable[[], object]]:
    """A training step, as the function to time and to count. Engines are eager and channels_last."""
    model, size = convert_for_training(build(spec)).train(), spec["size"]
    pixels = torch.randn(spec["batch"], 3, *size)
    labels = torch.randint(0, spec["classes"], (spec["batch"], *size))
    if spec["engine"] != "eager":
        model, pixels = (x.to(memory_format=torch.channels_last) for x in (model, pixels))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4)

    def step():
        with torch.autocast("cpu", torch.bfloat16, enabled=spec["precision"] == "bf16"):
            loss = model(pixels, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step, step


def metric(spec: dict) -> tuple[Callable[[], object], Callable[[], object]]:
    """The metric's count of one label map; it has no torch operations to count."""
    rng = np.random.default_rng(0)
    prediction, reference = (rng.integers(0, spec["classes"], spec["size"]).astype(np.uint8) for _ in range(2))
    counted = MeanIoU()
    return partial(counted.add, prediction=prediction, reference=reference), lambda: None


def peak_memory() -> float:
    """The peak memory of this process in GB. On Linux, `ru_maxrss` includes the parent's peak; VmHWM doesn't."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 2**20


def main() -> None:
    spec = json.loads(sys.argv[1])
    torch.manual_seed(0)
    if spec["threads"] is not None:
        torch.set_num_threads(spec["threads"])
    run, plain = {"infer": inference, "train": training, "metric": metric}[spec["job"]](spec)
    ready = {"torch": torch.__version__, "operations": operations(plain)}
    if spec["no_trim"]:
        disable_malloc_trim()
    run()
    print(json.dumps(ready), flush=True)
    for _ in sys.stdin:
        start, cpu = time.perf_counter(), time.process_time()
        run()
        taken = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}
        taken["peak_memory_gb"] = peak_memory()
        print(json.dumps(taken), flush=True)


if __name__ == "__main__":
    main()
