"""The device, the versions, and the device's peak speed."""

from __future__ import annotations

import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version

import torch
from torch.nn.functional import conv2d

from .comparison import DTYPES, Contender, matrix_product_speed
from .section import Section
from .settings import Settings, float32_products

PACKAGES = ("torch", "torchvision", "transformers", "accelerate", "datasets", "evaluate", "numpy", "triton")


def environment(section: Section, settings: Settings) -> None:
    """Report names and versions, then the speed of large products and copies."""
    device = settings.device()
    rows = [("Python", platform.python_version()), ("system", platform.platform()), ("device", str(device))]
    rows += [(name, _version(name)) for name in PACKAGES] + _card(device)
    section.table("Machine", ("what", "which"), rows)
    section.record(**dict(rows))
    speeds = {name: matrix_product_speed(device, name, settings.product) for name in DTYPES}
    names = [(f"{name} product of {settings.product}x{settings.product} matrices", x) for name, x in speeds.items()]
    rows = [(name, f"{x / 1e12:.3g} TFLOP/s") for name, x in names]
    copied = _copy_speed(device, 2**20 if settings.tiny else 2**31)
    rows.append(("copy within the device's memory, read and write", f"{copied / 1e12:.3g} TB/s"))
    section.table("What the card reaches", ("work", "speed"), rows)
    errors = {
        f"{kind} {name}": x for name, tf32 in (("fp32", False), ("tf32", True)) for kind, x in _errors(device, tf32)
    }
    rows = [(name, f"{x:.1e}") for name, x in errors.items()]
    section.table("Relative error to float64 (TF32's is about 3e-4)", ("work", "error"), rows)
    section.record(matrix_product_speeds=speeds, copy_bytes_per_second=copied, errors=errors)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _card(device: torch.device) -> list[tuple[str, str]]:
    """Facts from the device's torch module and from its vendor's tool."""
    module, rows = torch.get_device_module(device), []
    if device.type == "cpu":
        return [("threads", str(torch.get_num_threads())), ("instructions", torch.backends.cpu.get_cpu_capability())]
    for name in ("get_device_properties", "get_device_capability"):
        if hasattr(module, name):
            rows.append((name.removeprefix("get_device_"), str(getattr(module, name)(device))))
    rows.append(("devices", str(torch.accelerator.device_count())))
    built = {name: x for name, x in vars(torch.version).items() if not name.startswith("_") and isinstance(x, str)}
    rows += [(f"torch.version.{name}", x) for name, x in built.items()]
    if torch.backends.cudnn.is_available():
        rows.append(("cuDNN", str(torch.backends.cudnn.version())))
    if shutil.which("nvidia-smi"):
        asked = "name,driver_version,memory.total,clocks.max.sm,power.limit,temperature.gpu"
        done = subprocess.run(["nvidia-smi", f"--query-gpu={asked}", "--format=csv"], capture_output=True, text=True)
        rows.append(("nvidia-smi", "; ".join(done.stdout.strip().splitlines())))
    return rows


def _copy_speed(device: torch.device, size: int) -> float:
    """Bytes per second, read and written."""
    source = torch.empty(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copy = Contender(lambda: target.copy_(source))
    copy.seconds(device, 1)
    return 2 * size / min(copy.seconds(device, 1) for _ in range(5))


@torch.no_grad()
def _errors(device: torch.device, tf32: bool) -> list[tuple[str, float]]:
    """Errors of a product and of a convolution of noise, which show whether TF32 is used only if it was requested."""
    torch.manual_seed(0)
    a, b = torch.randn(512, 512), torch.randn(512, 512)
    image, weight = torch.randn(1, 64, 32, 32), torch.randn(64, 64, 3, 3)
    with float32_products(tf32):
        product = (a.to(device) @ b.to(device)).cpu().double()
        convolved = conv2d(image.to(device), weight.to(device)).cpu().double()
    truths = a.double() @ b.double(), conv2d(image.double(), weight.double())
    pairs = zip(("product", "convolution"), (product, convolved), truths, strict=True)
    return [(kind, ((x - truth).norm() / truth.norm()).item()) for kind, x, truth in pairs]
