"""A device, a network for it, and the truth: float64 on the CPU.

Without an accelerator these tests are skipped; `pytest tests/gpu --gpu-on-cpu` tries them out on the CPU, with the
smallest network. What each measures is recorded (`record_property`) for `benchmarks/gpu.py`.
"""

import os

import pytest
import torch
import torch.nn.functional as F
from accelerate.state import AcceleratorState
from helpers.device_passes import CLASSES
from helpers.tiny import TINY_BACKBONE

from modeling_ocrnet import OCRNetConfig, OCRNetForSemanticSegmentation

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # for `deterministic`; read at a device's first product


@pytest.fixture
def device(request, monkeypatch):
    """Float32 products on it are exact to float32: no TF32."""
    if request.config.getoption("--gpu-on-cpu"):
        monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
        # more threads would wait for each other longer than they work
        monkeypatch.setattr("modeling_ocrnet.training.loop.use_all_cores", lambda device: None, raising=False)
        yield torch.device("cpu")
        return
    if not torch.accelerator.is_available():
        pytest.skip("torch.accelerator finds no accelerator")
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    yield torch.accelerator.current_accelerator()
    torch.set_float32_matmul_precision(precision)


@pytest.fixture
def fields(request) -> dict:
    """Of the network: HR18s, or the smallest."""
    small = {"backbone_fields": TINY_BACKBONE, "ocr_channels": 16, "key_channels": 8}
    return small if request.config.getoption("--gpu-on-cpu") else {}


@pytest.fixture
def batch(fields) -> dict[str, torch.Tensor]:
    """Two images, smooth but for some noise, with labels, a tenth of them not labelled."""
    generator = torch.Generator().manual_seed(1)
    height, width = (64, 128) if fields else (128, 256)
    labels = torch.randint(0, CLASSES, (2, height, width), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < 0.1] = 255
    smooth = F.interpolate(torch.randn(2, 3, 4, 8, generator=generator), size=(height, width), mode="bicubic")
    return {"pixel_values": smooth + 0.1 * torch.randn(smooth.shape, generator=generator), "labels": labels}


@pytest.fixture
def network(fields, batch) -> OCRNetForSemanticSegmentation:
    """In float32 on the CPU, without dropout, and as well conditioned as a trained one.

    As it is initialised, sums grow from block to block and all regions are alike, which their batch norms blow up:
    rounding alone would then turn gradients around.
    """
    torch.manual_seed(0)
    backbone = {**fields.get("backbone_fields", {}), "zero_init_residual": True}
    options = {**fields, "backbone_fields": backbone, "classifier_initializer_range": 0.5}
    model = OCRNetForSemanticSegmentation(OCRNetConfig.from_variant("hr18s", num_labels=CLASSES, **options))
    norms = [x for x in model.modules() if isinstance(x, torch.nn.BatchNorm2d)]
    for norm in norms:
        if not norm.weight.any():
            torch.nn.init.uniform_(norm.weight, 0.1, 0.3)
        norm.momentum = 1.0
    with torch.no_grad():
        model.train()(batch["pixel_values"])  # running statistics that fit
    for norm in norms:
        norm.momentum = 0.1
    return model


@pytest.fixture
def deterministic():
    """The same sums in the same order, where the device has such kernels."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def fresh_accelerator():
    """Accelerate keeps one state a process, in which precision can't change."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def bounded(record_property):
    """Asserts that an error is within its bound, and records both."""

    def check(name: str, error: float, bound: float) -> None:
        record_property(name, f"{error:.1e} (at most {bound:.0e})")
        assert error <= bound, f"{name}: {error:.3g}, at most {bound:.3g} expected"  # NaN isn't

    return check
