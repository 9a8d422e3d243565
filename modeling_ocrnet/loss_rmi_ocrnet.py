# SPDX-License-Identifier: Apache-2.0
"""Region mutual information (RMI): neighbouring pixels are compared together, not one by one."""

import functools

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.utils import logging

from .loss_classes_ocrnet import one_hot, sum_over_classes

SIDE = 3  # of a region: 9 pooled pixels
LEAST = 1e-6  # is added to probabilities
JITTER = {"average": 5e-4, "max": 1e-3}  # is added to the covariances' diagonals: NVIDIA's numbers, and openseg's
logger = logging.get_logger(__name__)


def rmi(logits: Tensor, labels: Tensor, ignore_index: int = 255, pooling: str = "average") -> Tensor:
    """Half a binary cross-entropy, and half the region mutual information (arXiv 1910.12037), summed over classes.

    Maps of each class, the truth and the sigmoids, are pooled. Each 3x3 neighbourhood is a point of nine dimensions.
    The mutual information's bound is half the log determinant of the truth's covariance, given the prediction's.

    The loss falls below 0 if things go well. The information of a class without a pixel is a constant, which adds
    log(jitter) / 4, without a gradient. A covariance that isn't positive definite after rounding is mended by more
    jitter, and left out if that fails.

    Args:
        logits: (batch, classes, height, width).
        labels: (batch, height, width), of 8x8 pixels at least.
        ignore_index: the label of pixels that don't count.
        pooling: `"average"`, over 4x4 pixels: NVIDIA's semantic-segmentation; `"max"`, over 3x3: openseg.pytorch.

    Returns:
        A scalar.

    Raises:
        ValueError: if the images are smaller than a neighbourhood.
    """
    if min(labels.shape[1:]) < 8:
        raise ValueError(f"rmi needs images of at least 8x8 pixels, got {labels.shape[1]}x{labels.shape[2]}")
    valid = (labels != ignore_index).unsqueeze(1)
    count = valid.sum() + 1

    def term(scores: Tensor, truth: Tensor) -> Tensor:
        binary = F.softplus(torch.where(truth, -scores, scores)) * valid
        seen = _pool(scores.sigmoid() * valid + LEAST, pooling)
        information = lower_bound(_pool(truth.to(scores.dtype), pooling), seen, JITTER[pooling])
        return 0.5 * binary.sum() / count + 0.5 * information.mean(0).sum()

    return sum_over_classes(term, logits, one_hot(labels, logits.shape[1], ignore_index))


def lower_bound(truth: Tensor, seen: Tensor, jitter: float) -> Tensor:
    """Half the log determinant of the truth's covariance given the prediction, by dimension, (batch, classes).

    Args:
        truth: pooled maps of the truth, (batch, classes, h, w).
        seen: pooled maps of the probabilities.
        jitter: what is added to the covariances' diagonals.
    """
    truth_vectors, seen_vectors = _neighbourhoods(truth), _neighbourhoods(seen)
    eye = jitter * torch.eye(SIDE**2, dtype=truth_vectors.dtype, device=truth_vectors.device)
    both = truth_vectors @ seen_vectors.mT
    of_seen, works = cholesky(seen_vectors @ seen_vectors.mT + eye)
    explained = both @ torch.cholesky_solve(both.mT, of_seen)
    of_rest, works_too = cholesky(truth_vectors @ truth_vectors.mT - explained + eye)
    log_determinant = 2 * (of_rest.diagonal(dim1=-2, dim2=-1) + 1e-8).log().sum(-1)
    half = 0.5 * log_determinant / SIDE**2
    return half.where(works & works_too, 0.0).to(seen.dtype).to(seen.device)


def cholesky(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Cholesky factors, (..., n, n), and whether they are a matrix's own, bool (...).

    A matrix that fails is tried again with a millionth of its mean variance on the diagonal. If it fails again, its
    place has the unit matrix, without a gradient. Nothing is read back to find out.
    """
    unit = torch.eye(matrices.shape[-1], dtype=matrices.dtype, device=matrices.device)
    variance = matrices.detach().diagonal(dim1=-2, dim2=-1).abs().mean(-1)
    more = (1e-6 * variance).where(_fails(matrices), 0.0)
    matrices = matrices + more[..., None, None] * unit
    fails = _fails(matrices)
    factors, _ = torch.linalg.cholesky_ex(unit.where(fails[..., None, None], matrices))
    return factors, ~fails


def _fails(matrices: Tensor) -> Tensor:
    factors, info = torch.linalg.cholesky_ex(matrices.detach())
    return (info != 0) | ~factors.isfinite().all(-1).all(-1)


def _pool(maps: Tensor, pooling: str) -> Tensor:
    if pooling == "average":
        return F.avg_pool2d(maps, 4, stride=4, padding=2)
    return F.max_pool2d(maps, 3, stride=3, padding=1)


def _neighbourhoods(maps: Tensor) -> Tensor:
    """Each 3x3 neighbourhood of (batch, classes, h, w) in float64, less their mean: (batch, classes, 9, positions)."""
    maps = maps.to(_home_of_float64(maps.device)).double()
    rows, columns = (size - SIDE + 1 for size in maps.shape[-2:])
    shifted = [maps[..., y : y + rows, x : x + columns] for y in range(SIDE) for x in range(SIDE)]
    vectors = torch.stack(shifted, 2).flatten(3)
    return vectors - vectors.mean(-1, keepdim=True)


@torch.compiler.assume_constant_result
def _home_of_float64(device: torch.device) -> torch.device:
    """Where float64 of a device's tensors is computed: there, or on the CPU if the device can't."""
    return device if _has_float64(device) else torch.device("cpu")


@functools.cache
def _has_float64(device: torch.device) -> bool:
    try:
        torch.linalg.cholesky_ex(torch.eye(1, dtype=torch.float64, device=device))
    except (TypeError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        logger.warning("rmi: %s has no float64 (%s), so covariances are computed on the CPU", device, reason)
        return False
    return True
