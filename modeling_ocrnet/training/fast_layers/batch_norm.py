"""A batch norm that trains several times faster on CPUs for maps with few channels. Exact except for rounding.

torch's kernels process as many channels at once as fit a vector register (AVX-512: 16 in float32, 32 in bfloat16). They
are several times slower on the remaining channels, which are many for HRNet-W18's 18 and 36 channels. channels_last
memory can be read in another way: `PACK` neighbouring pixels with c channels are one pixel with PACK * c channels. The
kernels then compute statistics for each of these channels. The mean is the average of PACK means. The variance is the
average of PACK variances plus the variance of those means. Sums for the gradients are added.
"""

import torch
from torch import Tensor, nn

PACK = 16  # number of pixels that are treated as one
MAX_CHANNELS = 48  # torch's kernels are slow below this number
MIN_ELEMENTS = 2**17  # elements of a map; with fewer, the additional calls take longer than they save


class FastBatchNorm2d(nn.BatchNorm2d):
    """Treats [`PACK`] neighbouring pixels as one, if that is faster."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise maps, (batch, channels, height, width)."""
        if not self._packs(x):
            return super().forward(x)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        running = self.running_mean, self.running_var
        return _PackedBatchNorm.apply(x, self.weight, self.bias, *running, self.momentum, self.eps)

    def _packs(self, x: Tensor) -> bool:
        return (
            self.training
            and x.device.type == "cpu"
            and x.dtype in (torch.float32, torch.bfloat16)  # float16's range is too small for the gradients' factors
            and x.ndim == 4
            and x.shape[1] < MAX_CHANNELS
            and x.numel() >= MIN_ELEMENTS
            and x.numel() % (PACK * x.shape[1]) == 0
            and x.is_contiguous(memory_format=torch.channels_last)
            and self.affine
            and self.weight.dtype == torch.float32
            and self.track_running_stats
            and self.momentum is not None
            and not torch.compiler.is_compiling()
        )


def _pack(x: Tensor) -> Tensor:
    """(batch, channels, height, width) to (1, PACK * channels, pixels / PACK, 1), a view."""
    return x.permute(0, 2, 3, 1).view(1, -1, 1, PACK * x.shape[1]).permute(0, 3, 1, 2)


def _repeat(*values: Tensor) -> tuple[Tensor, ...]:
    """Repeat each tensor, (channels,), to (PACK * channels,)."""
    return torch.stack(values).unsqueeze(1).expand(-1, PACK, -1).flatten(1).unbind()


def _affine(x: Tensor, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """(x - mean) / sqrt(variance + eps) * weight + bias in float32, in x's shape; the other tensors are (channels,)."""
    result = torch.empty_like(x)  # not a view of the kernel's output, because an in-place ReLU may follow
    weight, bias, mean, variance = _repeat(weight, bias, mean, variance)
    out = {"out": _pack(result), "save_mean": weight.new_empty(0), "save_invstd": weight.new_empty(0)}
    torch.ops.aten.native_batch_norm.out(_pack(x), weight, bias, mean, variance, False, 0.0, eps, **out)
    return result


class _PackedBatchNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, running_mean, running_var, momentum, eps):
        pixels = x.numel() // x.shape[1]
        unused = weight.new_zeros(PACK * x.shape[1])
        means, variances = (y.view(PACK, -1) for y in torch.batch_norm_update_stats(_pack(x), unused, unused, 0.0))
        mean = means.mean(0)
        variance = (variances + (means - mean).square()).mean(0)
        running_mean.lerp_(mean, momentum)
        running_var.lerp_(variance * (pixels / (pixels - 1)), momentum)
        ctx.save_for_backward(x, weight, mean, (variance + eps).rsqrt())
        return _affine(x, mean, variance, weight, bias, eps)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        """With z = (x - mean) / deviation, n pixels and the output's gradient g: the gradients of bias and weight are
        sum(g) and sum(g * z). The gradient of x is weight / deviation * (g - sum(g) / n - z * sum(g * z) / n)."""
        x, weight, mean, inverse = ctx.saved_tensors  # inverse: 1 / deviation
        gradient, pixels = gradient.contiguous(memory_format=torch.channels_last), x.numel() // x.shape[1]
        weights, means, inverses = _repeat(weight, mean, inverse)
        _, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            _pack(gradient), _pack(x), weights, None, None, means, inverses, True, 0.0, [False, True, True]
        )
        of_weight, of_bias = (y.view(PACK, -1).sum(0) for y in (of_weight, of_bias))
        scale = weight * inverse
        slope = (-scale * inverse * of_weight / pixels).to(x.dtype)
        of_x = _affine(gradient, of_bias / pixels, torch.ones_like(mean), scale, -slope.float() * mean, 0.0)
        _pack(of_x).addcmul_(_pack(x), slope.repeat(PACK).view(1, -1, 1, 1))
        return of_x, of_weight, of_bias, None, None, None, None
