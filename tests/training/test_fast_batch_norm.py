"""The packed batch norm: against torch's own, in float64."""

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from modeling_ocrnet.gradient_checkpointing import checkpoint_without_bn_update
from modeling_ocrnet.training.fast_layers.batch_norm import MAX_CHANNELS, FastBatchNorm2d


def maps(channels=18, size=(64, 64), dtype=torch.float32):
    """(2, channels, height, width), channels_last, with a mean and a deviation of each channel's own."""
    x = torch.randn(2, *size, channels) * torch.linspace(0.1, 4, channels) + torch.linspace(-3, 5, channels)
    return x.to(dtype).permute(0, 3, 1, 2)


def layer(channels=18, **kwargs):
    norm = FastBatchNorm2d(channels, **kwargs)
    if norm.affine:
        nn.init.uniform_(norm.weight, 0.2, 2)
        nn.init.normal_(norm.bias)
    return norm


def as_torch(norm, dtype=torch.float32):
    """torch's own layer, with the same numbers."""
    theirs = nn.BatchNorm2d(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    theirs.load_state_dict(norm.state_dict())
    return theirs.train(norm.training).to(dtype)


def packed(y):
    return type(y.grad_fn).__name__ == "_PackedBatchNormBackward"


def everything(norm, x, target):
    """The result, the gradients of map, weight and bias, and the running statistics."""
    x = x.detach().requires_grad_()
    y = norm(x)
    gradients = torch.autograd.grad(y, [x, norm.weight, norm.bias], target.to(y.dtype))
    return [y.detach(), *gradients, norm.running_mean, norm.running_var]


@pytest.mark.parametrize("channels", [3, 18, 36])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_is_as_near_to_the_exact_result_as_torch(dtype, channels):
    x, norm = maps(channels, (128, 192), dtype), layer(channels=channels)
    target = maps(channels, (128, 192), dtype)
    theirs, exact = as_torch(norm), as_torch(norm, torch.float64)
    assert packed(copy.deepcopy(norm)(x))
    results = [everything(n, x.to(t), target) for n, t in ((norm, dtype), (theirs, dtype), (exact, torch.float64))]
    for ours, torchs, truth in zip(*results, strict=True):
        assert ours.dtype == torchs.dtype
        assert ours.stride() == torchs.stride()
        error, allowed = ((y.double() - truth).norm() / truth.norm() for y in (ours, torchs))
        assert error <= 1.5 * allowed + 1e-6
    assert norm.num_batches_tracked == 1


def test_relu_in_place_and_a_gradient_in_another_memory_format_change_nothing():
    norm, x, target = layer(), maps().requires_grad_(), maps()
    (plain,) = torch.autograd.grad(F.relu(norm(x)), x, target)
    (other,) = torch.autograd.grad(F.relu(norm(x), inplace=True), x, target.contiguous())
    assert torch.equal(plain, other)


@pytest.mark.parametrize(
    ("x", "options"),
    [
        (maps(size=(8, 8)), {}),  # too small to gain
        (maps(size=(65, 67)), {}),  # 8710 pixels aren't a multiple of 16
        (maps(MAX_CHANNELS), {}),
        (maps().contiguous(), {}),
        (maps(dtype=torch.float64), {}),
        (maps(dtype=torch.float16), {}),
        (maps(), {"momentum": None}),
        (maps(), {"affine": False}),
        (maps(), {"track_running_stats": False}),
    ],
)
def test_elsewhere_it_is_torchs_own(x, options):
    dtype = torch.promote_types(x.dtype, torch.float32)  # of the parameters
    norm = layer(channels=x.shape[1], **options).to(dtype)
    theirs = as_torch(norm, dtype)
    y = norm(x.requires_grad_())
    assert not packed(y)
    assert torch.equal(y, theirs(x))


def test_in_evaluation_it_is_torchs_own():
    norm = layer()
    norm(maps())
    norm.eval()
    x = maps()
    assert torch.equal(norm(x), as_torch(norm)(x))


def test_gradient_checkpointing_moves_the_statistics_once():
    norm, x = layer(), maps().requires_grad_()
    plain = as_torch(norm)
    plain(x)
    contexts = partial(checkpoint_without_bn_update, norm)
    checkpoint(norm, x, use_reentrant=False, context_fn=contexts).sum().backward()
    torch.testing.assert_close(norm.running_mean, plain.running_mean)
    torch.testing.assert_close(norm.running_var, plain.running_var)
    assert norm.num_batches_tracked == 1
