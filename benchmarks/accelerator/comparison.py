"""Times contenders on one device in turn: milliseconds, ratios, images and operations per second, memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from ..paired import by_contender, run_rounds, summarize
from .section import Section
from .settings import Settings, float32_products, synchronize

HEAD = ("contender", "ms", "times as fast", "quartiles", "images/s", "peak GB", "TFLOP/s", "of a matrix product's")
DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass
class Contender:
    """Something to time.

    Args:
        run: does the work once; it may return before the device has finished.
        precision: of matrix products: fp32, tf32, bf16 or fp16.
        search: search for the fastest kernels of convolutions (cuDNN's benchmark mode).
        peak_memory: GB allocated at the peak after warm-up, above the level before; `None` on devices that don't count
            it.
    """

    run: Callable[[], object]
    precision: str = "fp32"
    search: bool = False
    peak_memory: float | None = None

    def seconds(self, device: torch.device, repeats: int) -> float:
        """The seconds of one call, as the mean over `repeats`."""
        with float32_products(self.precision == "tf32", self.search):
            synchronize(device)
            start = time.perf_counter()
            for _ in range(repeats):
                self.run()
            synchronize(device)
            return (time.perf_counter() - start) / repeats


def matrix_product_speed(device: torch.device, precision: str, size: int, times: int = 5) -> float:
    """Operations per second of a large product of random square matrices: the speed that this device reaches now."""
    a, b = (torch.randn(size, size, device=device, dtype=DTYPES[precision]) for _ in range(2))
    contender = Contender(lambda: a @ b, precision)
    contender.seconds(device, 1)
    return 2 * size**3 / min(contender.seconds(device, 1) for _ in range(times))


def count_operations(run: Callable[[], object]) -> int:
    """The number of additions and multiplications in convolutions and matrix products."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def warm_up(
    section: Section, device: torch.device, name: str, make: Callable[[], Contender], times: int = 2
) -> Contender | None:
    """Create a contender and run it. If it fails, the error is reported, and the others continue without it."""
    memory = torch.get_device_module(device)
    counts = hasattr(memory, "max_memory_allocated")
    try:
        if counts:
            torch.empty(1, device=device)  # the statistics can't be reset before the first allocation
            memory.reset_peak_memory_stats()
            before = memory.memory_allocated()
        contender = make()
        contender.seconds(device, times)
        if counts:
            contender.peak_memory = (memory.max_memory_allocated() - before) / 1e9
        return contender
    except Exception as error:  # out of memory, or no such kernel or compiler: the others can still be timed
        section.say(f"{name} left out: {type(error).__name__}: {' '.join(str(error).split())[:300]}")
        return None


def compare(
    section: Section,
    settings: Settings,
    caption: str,
    wanted: dict[str, Callable[[], Contender]],
    images: int,
    operations: dict[str, int] | int = 0,
    seconds: float | None = None,
) -> None:
    """Time contenders in turn; the first one is the baseline. Writes a table, and records the figures by its caption.

    Args:
        section: receives the table and the figures.
        settings: rounds and repeats.
        caption: what is compared.
        wanted: the contenders by name, each as a function that creates it.
        images: number of images in a call.
        operations: of a call; a dict by contender if they differ.
        seconds: time limit; by default the rest of the part's time.
    """
    device = settings.device()
    deadline = section.deadline if seconds is None else min(section.deadline, time.monotonic() + seconds)
    made = {name: warm_up(section, device, name, make) for name, make in wanted.items()}
    contenders = {name: x for name, x in made.items() if x is not None}
    if not contenders:
        return
    timed = {name: lambda x=x: {"seconds": x.seconds(device, settings.repeats)} for name, x in contenders.items()}
    records = run_rounds(timed, settings.rounds, enough=lambda: time.monotonic() >= deadline, say=lambda line: None)
    times = by_contender(records, "seconds")
    summary = summarize(times, next(iter(contenders)))
    speeds = {x.precision: 0.0 for x in contenders.values()}
    speeds = {precision: matrix_product_speed(device, precision, settings.product) for precision in speeds}
    rows = []
    for name, figures in summary["contenders"].items():
        contender, took = contenders[name], figures["milliseconds"] / 1000
        done = operations.get(name, 0) if isinstance(operations, dict) else operations
        figures |= {"images_per_second": images / took, "peak_memory_gb": contender.peak_memory}
        figures |= {"operations": done, "share_of_matrix_product": done / took / speeds[contender.precision]}
        low, high = figures["quartiles"]
        memory = "" if contender.peak_memory is None else f"{contender.peak_memory:.2f}"
        speed = (f"{done / took / 1e12:.3g}", f"{figures['share_of_matrix_product']:.1%}") if done else ("", "")
        ratio = (f"{figures['times_as_fast']:.2f}", f"{low:.2f} to {high:.2f}")
        rows.append((name, f"{1000 * took:.2f}", *ratio, f"{images / took:.1f}", memory, *speed))
    rounds = len(next(iter(times.values())))
    caption = f"{caption} ({rounds} rounds of {settings.repeats})"
    section.table(caption, HEAD, rows)
    section.record(**{caption: summary | {"seconds": times, "matrix_product_speeds": speeds}})
