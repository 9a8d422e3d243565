"""Times segmentation, training steps and the metric, in turn with mmsegmentation."""

from __future__ import annotations

import json
import sys
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import torch

from modeling_ocrnet.common.errors import UserError

from . import ROOT
from .contender import start_contender
from .paired import by_contender, run_rounds, summarize, table

PEER = Path(__file__).parent / "peers" / "mmseg_speed.py"
WORKER = "benchmarks.worker"
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def inference_benchmark(
    peer: str | None = None,
    ours: list[str] = ["eager:fp32", "fused:fp32:no_trim", "fused:bf16:no_trim"],  # noqa: B006
    peers: list[str] = ["eager:fp32", "channels_last:fp32:no_trim", "channels_last:bf16:no_trim"],  # noqa: B006
    variant: str = "hr18",
    size: tuple[int, int] = (512, 1024),
    batch: int = 1,
    classes: int = 19,
    rounds: int = 9,
    threads: int | None = None,
    clock: str = "wall",
) -> list[dict]:
    """Seconds of a forward pass, images to logits.

    A contender is `engine:precision`, or `engine:precision:no_trim` to make glibc's allocator keep freed memory. Each
    contender runs in a separate process and is timed once in each round.

    Args:
        peer: A Python with mmsegmentation 1.x, to be timed in turn (null: only this project).
        ours: Our contenders; engines eager (the model unchanged), fused, compile, onnxruntime and openvino (all three
            run the fused model), predictor (image to label map); fp32, bf16, or int8 (onnxruntime and openvino only).
        peers: The peer's; engines eager, channels_last, compile, onnxruntime, openvino; fp32, bf16, or int8 (openvino).
        variant: hr18s, hr18, hr48 or r101-d8.
        size: Height and width of the images.
        batch: Images per pass.
        classes: Number of classes.
        rounds: Rounds of the comparison.
        threads: Threads of each contender (null: torch's default).
        clock: wall, or cpu: the CPU time, which other programs affect less (with one thread).

    Returns:
        A record for each round and contender; the last record is the summary: medians, paired ratios with quartiles,
        operations, share of the matrix products' speed, memory.

    Raises:
        ValueError, DataError: for invalid contenders.
    """
    spec = {"job": "infer", "variant": variant, "size": size, "batch": batch, "classes": classes}
    return _compare(spec, peer, ours, peers, rounds, threads, clock, "per pass")


def training_benchmark(
    peer: str | None = None,
    ours: list[str] = ["channels_last:bf16:no_trim"],  # noqa: B006
    peers: list[str] = ["eager:fp32", "channels_last:bf16:no_trim"],  # noqa: B006
    variant: str = "hr18",
    size: tuple[int, int] = (512, 1024),
    batch: int = 2,
    classes: int = 19,
    rounds: int = 5,
    threads: int | None = None,
    clock: str = "wall",
) -> list[dict]:
    """Seconds of a training step: forward, both losses, backward, SGD. The arguments are those of `infer`; engines are
    eager and channels_last; bf16 means autocast."""
    spec = {"job": "train", "variant": variant, "size": size, "batch": batch, "classes": classes}
    return _compare(spec, peer, ours, peers, rounds, threads, clock, "per step")


def metric_benchmark(
    peer: str | None = None,
    size: tuple[int, int] = (1024, 2048),
    classes: int = 19,
    rounds: int = 25,
    threads: int | None = None,
    clock: str = "wall",
) -> list[dict]:
    """Seconds of the metric's count of one label map. The arguments are those of `infer`."""
    spec = {"job": "metric", "variant": None, "size": size, "batch": 1, "classes": classes}
    contender = ["eager:fp32"]  # neither matters
    return _compare(spec, peer, contender, contender, rounds, threads, clock, "per map")


def _compare(
    spec: dict,
    peer: str | None,
    ours: list[str],
    peers: list[str],
    rounds: int,
    threads: int | None,
    clock: str,
    unit: str,
) -> list[dict]:
    if rounds < 1 or clock not in ("wall", "cpu"):
        raise UserError(f"rounds must be positive and clock wall or cpu, got {rounds} and {clock}")
    clock = {"wall": "seconds", "cpu": "cpu_seconds"}[clock]
    wanted = {f"ours {x}": ([sys.executable, "-m", WORKER], parse_contender(x), ROOT) for x in ours}
    if peer is not None:
        wanted |= {f"mmsegmentation {x}": ([peer, str(PEER)], parse_contender(x), None) for x in peers}
    speed = {name: matrix_product_speed(dtype, threads) for name, dtype in DTYPES.items()}
    contenders, operations = {}, {}
    with ExitStack() as stack:
        for name, (command, described, folder) in wanted.items():
            command = [*command, json.dumps(spec | described | {"threads": threads})]
            ready, ask = stack.enter_context(start_contender(command, "what it needs", folder=folder))
            operations[name], contenders[name] = ready["operations"], partial(ask, "")
        records = run_rounds(contenders, rounds)
    baseline = f"mmsegmentation {peers[0]}" if peer is not None else f"ours {ours[0]}"
    summary = summarize(by_contender(records, clock), baseline)
    memory = by_contender(records, "peak_memory_gb")
    for name, x in summary["contenders"].items():
        precision = wanted[name][1]["precision"]
        x |= {"operations": operations[name], "peak_memory_gb": max(memory[name])}
        if operations[name] and precision in speed:
            x["share_of_matrix_products"] = operations[name] / x["milliseconds"] * 1000 / speed[precision]
    summary |= {"clock": clock, "threads": threads, "matrix_product_speed": speed, **spec}
    print(json.dumps(summary), flush=True)
    print(_report(summary, unit))
    return [*records, summary]


def parse_contender(text: str) -> dict:
    """Parse `engine:precision[:no_trim]` to the fields of a worker's JSON."""
    engine, precision, *rest = text.split(":") if ":" in text else (text, "")
    if precision not in ("fp32", "bf16", "int8") or rest not in ([], ["no_trim"]):
        raise UserError(
            f"{text}: expected engine:precision or engine:precision:no_trim, with the precision fp32, bf16 or int8"
        )
    return {"engine": engine, "precision": precision, "no_trim": bool(rest)}


def matrix_product_speed(dtype: torch.dtype, threads: int | None = None, size: int = 2048) -> float:
    """Operations per second of a large matrix product: the speed that this machine reaches now."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    a, b = (torch.randn(size, size).to(dtype) for _ in range(2))
    seconds = []
    for _ in range(6):
        start = time.perf_counter()
        a @ b
        seconds.append(time.perf_counter() - start)
    torch.set_num_threads(before)
    return 2 * size**3 / min(seconds)


def _report(summary: dict, unit: str) -> str:
    lines = [table(summary, unit), ""]
    for name, x in summary["contenders"].items():
        text = f"{name}: {x['peak_memory_gb']:.2f} GB peak memory"
        if x["operations"]:
            text += f", {x['operations'] / 1e9:.1f} G operations"
        if "share_of_matrix_products" in x:
            text += f", {x['share_of_matrix_products']:.0%} of a matrix product's speed"
        lines.append(text)
    return "\n".join(lines)
