"""Times mmsegmentation's OCRNet, or its metric, in its own Python:

    python benchmarks/peers/mmseg_speed.py '{"job": "infer", "variant": "hr18", "size": [512, 1024], "batch": 1,
        "classes": 19, "engine": "eager", "precision": "fp32", "no_trim": false, "threads": 2}'

job: infer, train or metric. engine: eager, channels_last, compile, onnxruntime or openvino. precision: fp32, bf16 or
int8 (openvino only). no_trim: glibc's allocator keeps freed memory. For each line on standard input it does the work
once and prints seconds (wall clock and CPU time) and peak memory as JSON.
"""

import ctypes
import glob
import json
import os
import sys
import tempfile
import time
import warnings

warnings.filterwarnings("ignore")

import mmseg  # noqa: E402
import torch  # noqa: E402
from mmengine.config import Config  # noqa: E402
from mmengine.structures import PixelData  # noqa: E402
from mmseg.evaluation.metrics import IoUMetric  # noqa: E402
from mmseg.registry import MODELS  # noqa: E402
from mmseg.structures import SegDataSample  # noqa: E402
from mmseg.utils import register_all_modules  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402


def build(spec: dict) -> torch.nn.Module:
    configs = os.path.join(os.path.dirname(mmseg.__file__), ".mim", "configs", "ocrnet")
    names = glob.glob1(configs, f"ocrnet_{spec['variant']}_*40k_cityscapes*.py")
    model = Config.fromfile(os.path.join(configs, sorted(names)[0])).model
    model.pretrained = model.backbone.pop("pretrained", None) and None
    model.backbone.norm_cfg.type = "BN"  # one process
    for head in model.decode_head:
        head.norm_cfg.type, head.num_classes = "BN", spec["classes"]
    return MODELS.build(model)


class Logits(torch.nn.Module):
    """The forward pass without the resize to the image's size."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, pixels):
        features = self.model.extract_feat(pixels)
        auxiliary, ocr = self.model.decode_head
        return ocr(features, auxiliary(features))


def exported(net, pixels, spec: dict):
    """A function that runs the network with ONNX Runtime or OpenVINO."""
    path = os.path.join(tempfile.mkdtemp(), "peer.onnx")
    torch.onnx.export(net, (pixels,), path, opset_version=17, dynamo=False)
    threads, array = torch.get_num_threads(), pixels.numpy()
    if spec["engine"] == "onnxruntime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return lambda: session.run(None, {name: array})
    import openvino

    core = openvino.Core()
    model = core.read_model(path)
    if spec["precision"] == "int8":
        import nncf

        noise = [torch.randn(pixels.shape).numpy() for _ in range(4)]  # enough to measure speed
        model = nncf.quantize(model, nncf.Dataset(noise), subset_size=4)
    hints = {"INFERENCE_PRECISION_HINT": "f32" if spec["precision"] == "fp32" else "bf16"}
    hints |= {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    request = core.compile_model(model, "CPU", hints).create_infer_request()
    return lambda: request.infer([array])


def infer(spec: dict):
    """The function to time, and the same in plain torch, to count its operations."""
    net, pixels = Logits(build(spec)).eval(), torch.randn(spec["batch"], 3, *spec["size"])

    def runner(net):
        def run():
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=spec["precision"] == "bf16"):
                net(pixels)

        return run

    if spec["engine"] in ("onnxruntime", "openvino"):
        return exported(net, pixels, spec), runner(net)
    if spec["engine"] != "eager":
        net, pixels = (x.to(memory_format=torch.channels_last) for x in (net, pixels))
    if spec["engine"] != "compile":
        return runner(net), runner(net)
    from torch._inductor import config

    config.freezing = True
    return runner(torch.compile(net)), runner(net)


def train(spec: dict):
    net, size = build(spec).train(), tuple(spec["size"])
    pixels = torch.randn(spec["batch"], 3, *size)
    labels = [torch.randint(0, spec["classes"], (1, *size)) for _ in pixels]
    samples = [SegDataSample(gt_sem_seg=PixelData(data=x), metainfo={"img_shape": size}) for x in labels]
    if spec["engine"] != "eager":
        net, pixels = (x.to(memory_format=torch.channels_last) for x in (net, pixels))
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4)

    def step():
        with torch.autocast("cpu", torch.bfloat16, enabled=spec["precision"] == "bf16"):
            losses = net.loss(pixels, samples)
        sum(value for key, value in losses.items() if "loss" in key).backward()
        optimizer.step()  # the gradients are cleared after it, as in mmengine's OptimWrapper
        optimizer.zero_grad()

    return step, step


def metric(spec: dict):
    prediction, label = (torch.randint(0, spec["classes"], tuple(spec["size"])) for _ in range(2))
    return lambda: IoUMetric.intersect_and_union(prediction, label, spec["classes"], 255), lambda: None


def peak_memory() -> float:
    """The peak memory of this process in GB. On Linux, `ru_maxrss` includes the parent's peak; VmHWM doesn't."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 2**20


def main() -> None:
    spec = json.loads(sys.argv[1])
    register_all_modules()
    torch.manual_seed(0)
    if spec["threads"] is not None:
        torch.set_num_threads(spec["threads"])
    run, plain = {"infer": infer, "train": train, "metric": metric}[spec["job"]](spec)
    with FlopCounterMode(display=False) as counter:
        plain()
    if spec["no_trim"]:
        ctypes.CDLL(None).mallopt(-3, 2**30)  # M_MMAP_THRESHOLD
        ctypes.CDLL(None).mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
    run()
    print(json.dumps({"version": mmseg.__version__, "operations": counter.get_total_flops()}), flush=True)
    for _ in sys.stdin:
        start, cpu = time.perf_counter(), time.process_time()
        run()
        taken = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}
        taken["peak_memory_gb"] = peak_memory()
        print(json.dumps(taken), flush=True)


if __name__ == "__main__":
    main()
