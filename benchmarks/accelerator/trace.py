"""The time of each kernel in a training step and a forward pass, and the device's idle time between them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial

from torch.autograd import DeviceType
from torch.profiler import profile, supported_activities

from .comparison import Contender
from .inference import network_pass
from .section import Section
from .settings import Settings, synchronize
from .training import training_step

TOP = 15


def trace(section: Section, settings: Settings) -> None:
    """Trace training steps and a forward pass. Each writes a trace for chrome://tracing or Perfetto beside the
    report."""
    variant = "hr18"
    make_step = partial(training_step, settings, settings.model(variant).train(), settings.trained[0][1])
    network = partial(network_pass, settings, settings.model(variant).eval(), settings.images[-1], fused=True)
    jobs = {
        "training_bf16": (partial(make_step, "bf16", True, False), 2),
        "inference_bf16": (partial(network, "bf16", channels_last=True), 1),
        "training_fp32": (partial(make_step, "fp32", False, False), 2),
    }
    for name, (make, times) in jobs.items():
        if section.time_left() > 0:
            _trace(section, settings, f"{name}_{variant}", make, times)


def _trace(section: Section, settings: Settings, name: str, make: Callable[[], Contender], times: int) -> None:
    device, contender = settings.device(), make()
    contender.seconds(device, 3)
    synchronize(device)
    with profile(activities=supported_activities()) as profiler:
        contender.seconds(device, times)
    profiler.export_chrome_trace(str(settings.output / f"trace_{name}.json.gz"))
    work = device_work(profiler.events())
    section.record(**{name: {"kernels": len(work), "times": times, "idle": idle_share(x[1:] for x in work)}})
    if not work:
        section.say(f"{name}: the profiler recorded no work on a device, so the table shows the CPU's.")
        work = [(x.name, 0.0, x.self_cpu_time_total) for x in profiler.events()]
    else:
        idle = idle_share(x[1:] for x in work)
        section.say(
            f"{name}: {len(work) / times:.0f} kernels and copies per call; the device was idle {idle:.1%} of the time."
        )
    rows = [(x[:100], n, f"{us / 1000 / times:.3f}", f"{share:.1%}") for x, n, us, share in longest(work)]
    section.table(f"{name}, the {TOP} longest kernels", ("kernel", "launches", "ms per call", "share"), rows)


def device_work(events: Iterable) -> list[tuple[str, float, float]]:
    """(name, start, end) in microseconds of the work on a device. (Ranges annotated by users aren't work.)"""
    return [
        (x.name, x.time_range.start, x.time_range.end)
        for x in events
        if x.device_type != DeviceType.CPU and not getattr(x, "is_user_annotation", False)
    ]


def idle_share(spans: Iterable[tuple[float, float]]) -> float | None:
    """The share of the time from the first start to the last end in which nothing ran; `None` without any work."""
    spans = sorted(spans)
    if not spans:
        return None
    first, reached, idle = spans[0][0], spans[0][0], 0.0
    for start, end in spans:
        idle += max(0.0, start - reached)
        reached = max(reached, end)
    return idle / (reached - first) if reached > first else 0.0


def longest(work: list[tuple[str, float, float]]) -> list[tuple[str, int, float, float]]:
    """(name, launches, microseconds, share) of the kernels with the longest total time."""
    total, calls = defaultdict(float), defaultdict(int)
    for name, start, end in work:
        total[name] += end - start
        calls[name] += 1
    whole = sum(total.values()) or 1.0
    names = sorted(total, key=total.get, reverse=True)[:TOP]
    return [(name, calls[name], total[name], total[name] / whole) for name in names]
