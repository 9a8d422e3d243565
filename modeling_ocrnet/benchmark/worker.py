"""One side of a measurement of speed, in a process of its own:

    python -m modeling_ocrnet.benchmark.worker '{"job": "infer", ...}'

It speaks as `scripts/peers/mmseg_speed.py` does, and takes the same JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ..configuration_ocrnet import OCRNetConfig
from ..evaluation.mean_iou import MeanIoU
from ..inference.memory import keep_freed_memory
from ..modeling_ocrnet import OCRNetForSemanticSegmentation


def build(spec: dict) -> OCRNetForSemanticSegmentation:
    return OCRNetForSemanticSegmentation(OCRNetConfig.from_variant(spec["variant"], num_labels=spec["classes"]))


def operations(run: Callable[[], object]) -> int:
    """Additions and multiplications of convolutions and matrix products."""

    def baddbmm(total, a, b, **kwargs) -> int:
        return 2 * a[0] * a[1] * a[2] * b[2]

    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.baddbmm_: baddbmm}) as counter:
        run()
    return counter.get_total_flops()


class Logits(nn.Module):
    """Nothing but the logits, at the network's own resolution."""

    def __init__(self, model: OCRNetForSemanticSegmentation):
        super().__init__()
        self.model = model

    def forward(self, pixel_values: Tensor) -> Tensor:
        return self.model(pixel_values, return_dict=False)[0]


def inference(spec: dict) -> tuple[Callable[[], object], Callable[[], object]]:
    """What is timed, and the same in plain torch, to be counted.

    Engines: eager (the model as it is), fused, compile and openvino (both of the fused model).
    """
    model, pixels = build(spec).eval(), torch.randn(spec["batch"], 3, *spec["size"])
    if spec["engine"] != "eager":
        model = model.fuse()
        pixels = pixels.contiguous(memory_format=torch.channels_last)
    net = Logits(model)

    @torch.no_grad()
    def plain():
        return net(pixels)

    if spec["engine"] == "openvino":
        return openvino(net, pixels, spec), plain
    if spec["precision"] == "bf16":
        net, pixels = net.bfloat16(), pixels.bfloat16()
    if spec["engine"] != "compile":
        return plain, plain
    torch._inductor.config.freezing = True
    compiled = torch.compile(net)
    return torch.no_grad()(lambda: compiled(pixels)), plain


def openvino(net: nn.Module, pixels: Tensor, spec: dict) -> Callable[[], object]:
    import openvino

    with torch.no_grad():
        exported = torch.export.export(net, (pixels,))
    converted = openvino.convert_model(exported)
    hints = {"INFERENCE_PRECISION_HINT": "f32" if spec["precision"] == "fp32" else "bf16"}
    hints |= {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "PERFORMANCE_HINT": "LATENCY"}
    request = openvino.Core().compile_model(converted, "CPU", hints).create_infer_request()
    array = pixels.contiguous().numpy()
    return lambda: request.infer([array])


def training(spec: dict) -> tuple[Callable[[], object], Callable[[], object]]:
    """A step, twice, as above. Engines: eager and channels_last."""
    model, size = build(spec).train(), spec["size"]
    pixels = torch.randn(spec["batch"], 3, *size)
    labels = torch.randint(0, spec["classes"], (spec["batch"], *size))
    if spec["engine"] != "eager":
        model, pixels = (x.to(memory_format=torch.channels_last) for x in (model, pixels))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4)

    def step():
        with torch.autocast("cpu", torch.bfloat16, enabled=spec["precision"] == "bf16"):
            loss = model(pixels, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step, step


def metric(spec: dict) -> tuple[Callable[[], object], Callable[[], object]]:
    """Counting one map; there is nothing in torch to be counted."""
    rng = np.random.default_rng(0)
    prediction, reference = (rng.integers(0, spec["classes"], spec["size"]).astype(np.uint8) for _ in range(2))
    counted = MeanIoU()
    return partial(counted.add, prediction=prediction, reference=reference), lambda: None


def peak_memory() -> float:
    """GB that this process has held at most. Linux counts a parent's into `ru_maxrss`, but not into VmHWM."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 2**20


def main() -> None:
    spec = json.loads(sys.argv[1])
    if spec["keep_memory"]:
        keep_freed_memory()
    torch.manual_seed(0)
    if spec["threads"] is not None:
        torch.set_num_threads(spec["threads"])
    run, plain = {"infer": inference, "train": training, "metric": metric}[spec["job"]](spec)
    ready = {"torch": torch.__version__, "operations": operations(plain)}
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
