"""The kernels that torch's SyncBatchNorm is made of, for the stand-in: torch brings them for GPUs alone.

Shapes: input (batch, channels, height, width); statistics (channels), of all processes (processes, channels).
"""

import torch

OVER = (0, 2, 3)


def by_channel(x: torch.Tensor) -> torch.Tensor:
    return x[None, :, None, None]


def stats(x, eps):
    mean = x.float().mean(OVER)
    variance = (x.float() - by_channel(mean)).square().mean(OVER)
    return mean, (variance + eps).rsqrt()


def gather_stats_with_counts(x, means, invstds, running_mean, running_var, momentum, eps, counts):
    share = (counts / counts.sum())[:, None]
    mean = (means * share).sum(0)
    variance = ((invstds.pow(-2) - eps + (means - mean).square()) * share).sum(0)
    if running_mean is not None:
        count = counts.sum()
        running_mean.mul_(1 - momentum).add_(mean * momentum)
        running_var.mul_(1 - momentum).add_(variance * (count / (count - 1)) * momentum)
    return mean, (variance + eps).rsqrt()


def elemt(x, weight, bias, mean, invstd, eps):
    y = (x.float() - by_channel(mean)) * by_channel(invstd)
    return (y * by_channel(weight) + by_channel(bias)).to(x.dtype)


def backward_reduce(gradient, x, mean, invstd, weight, for_input, for_weight, for_bias):
    total = gradient.float().sum(OVER)
    times_centred = (gradient.float() * (x.float() - by_channel(mean))).sum(OVER)
    return total, times_centred, times_centred * invstd, total.clone()


def backward_elemt(gradient, x, mean, invstd, weight, total, times_centred, counts):
    count = counts.sum()
    centred = (x.float() - by_channel(mean)) * by_channel(invstd.square() * times_centred / count)
    result = (gradient.float() - by_channel(total / count) - centred) * by_channel(invstd * weight)
    return result.to(x.dtype)


def register() -> torch.library.Library:
    """Make them the device's; they stay as long as what is returned."""
    library = torch.library.Library("aten", "IMPL")
    for kernel in (stats, gather_stats_with_counts, elemt, backward_reduce, backward_elemt):
        library.impl(f"batch_norm_{kernel.__name__}", kernel, "PrivateUse1")
    return library
