"""Passes on the device against float64 on the CPU. Errors are relative, of all elements together; the bounds are about
three times what the rounding of HR18s on a CPU makes in that precision (gradients of fp32: seven times)."""

import copy

import pytest
import torch
from helpers.device_passes import relative_error, training_pass

CPU = torch.device("cpu")
BOUNDS = {
    "fp32": {"logits": 1e-4, "auxiliary_logits": 1e-4, "loss": 1e-5, "gradients": 5e-3, "statistics": 1e-5},
    "fp16": {"logits": 5e-2, "auxiliary_logits": 2e-2, "loss": 1e-3, "gradients": 4e-1, "statistics": 1e-3},
    "bf16": {"logits": 3e-1, "auxiliary_logits": 1e-1, "loss": 2e-3, "gradients": 8e-1, "statistics": 5e-3},
}
HALF = {"fp32": None, "fp16": torch.float16, "bf16": torch.bfloat16}


@pytest.mark.parametrize("channels_last", [False, True], ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("precision", list(BOUNDS))
def test_a_training_pass(device, network, batch, precision, channels_last, bounded):
    """Of fp16 and bf16 autocast the weights stay float32."""
    truth = training_pass(network, batch, CPU, torch.float64)
    found = training_pass(network, batch, device, autocast=HALF[precision], channels_last=channels_last)
    for name, bound in BOUNDS[precision].items():
        bounded(name, relative_error(found[name], truth[name]), bound)


@pytest.mark.parametrize("fused", [False, True], ids=["plain", "fused"])
@pytest.mark.parametrize(("precision", "bound"), [("fp32", 1e-4), ("fp16", 6e-2), ("bf16", 4e-1)])
def test_a_pass_to_logits(device, network, batch, fused, precision, bound, bounded):
    """The plain and the fused model, weights in the precision; regions and attention too."""
    dtype = HALF[precision] or torch.float32
    model = network.eval()
    with torch.no_grad():
        truth = copy.deepcopy(model).double()(batch["pixel_values"].double(), output_regions=True)
        model = (model.fuse() if fused else copy.deepcopy(model)).to(device, dtype)
        found = model(batch["pixel_values"].to(device, dtype), output_regions=True)
    for name in ("logits", "auxiliary_logits", "region_representations", "region_attention"):
        bounded(name, relative_error(found[name], truth[name]), bound)


def test_two_passes_are_the_same_to_the_bit(device, network, batch, deterministic):
    first, second = (training_pass(network, batch, device) for _ in range(2))
    for name in ("logits", "gradients", "statistics"):
        pairs = zip(*(x if isinstance(x, list) else [x] for x in (first[name], second[name])), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs), name
