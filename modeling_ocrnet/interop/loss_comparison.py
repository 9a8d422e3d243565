"""Compares the losses of two training runs: the SDAA model zoo's check, and errors that this check hides."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..common.errors import UserError, reason, writing

RELATIVE, ABSOLUTE = 0.05, 0.0002  # the model zoo's bounds; `--strict` applies the first to |relative error|
SMOOTHED = 5  # window of the smoothed curves, in points


@dataclass(frozen=True)
class Comparison:
    """Two runs' losses at the steps that both logged. `left_out` is the number of steps that only one run logged."""

    steps: np.ndarray
    candidate: np.ndarray
    baseline: np.ndarray
    left_out: int

    @property
    def relative(self) -> np.ndarray:
        """(candidate - baseline) / baseline, without the steps at which the baseline is zero."""
        divides = self.baseline != 0
        return (self.candidate - self.baseline)[divides] / self.baseline[divides]

    def passes_model_zoo(self) -> bool:
        """The model zoo's rule. It uses signed means, so a loss that is lower everywhere passes, by any amount."""
        return bool(self.relative.mean() <= RELATIVE or (self.candidate - self.baseline).mean() <= ABSOLUTE)

    def passes_strictly(self) -> bool:
        """Whether the mean of |relative error| is at most 5%."""
        return bool(np.abs(self.relative).mean() <= RELATIVE)


def compare(candidate: dict[int, float], baseline: dict[int, float]) -> Comparison:
    """Pair two runs' losses by step.

    Args:
        candidate: the losses by step of the run to check.
        baseline: the losses by step of the run that it should agree with.

    Raises:
        UserError: if no step is in both, or the baseline is zero at all common steps.
    """
    common = sorted(candidate.keys() & baseline.keys())
    if not common:
        ranges = [f"{min(x)} to {max(x)} ({len(x)})" for x in (candidate, baseline)]
        raise UserError(
            f"no step is in both logs: the candidate has {ranges[0]}, the baseline {ranges[1]}; log both with the same "
            "interval (logging.every)"
        )
    ours, theirs = (np.array([x[step] for step in common], np.float64) for x in (candidate, baseline))
    if not theirs.any():
        raise UserError(f"the baseline's loss is zero at all {len(common)} common steps: no relative error exists")
    return Comparison(np.array(common), ours, theirs, left_out=len(candidate.keys() ^ baseline.keys()))


def describe(comparison: Comparison) -> str:
    """The model zoo's four lines, in the format of its graders, then errors without signs, which don't cancel."""
    difference, relative = comparison.candidate - comparison.baseline, comparison.relative
    mean_relative, mean_absolute = float(relative.mean()), float(difference.mean())
    by_relative = mean_relative < mean_absolute
    rule = f"mean_relative_error {mean_relative}" if by_relative else f"mean_absolute_error {mean_absolute}"
    verdict = "pass" if comparison.passes_model_zoo() else "fail"
    lines = [
        f"MeanRelativeError: {mean_relative}",
        f"MeanAbsoluteError: {mean_absolute}",
        f"Rule,{rule}",
        f"{verdict} mean_relative_error=np.float64({mean_relative}) <= {RELATIVE} or "
        f"mean_absolute_error=np.float64({mean_absolute}) <= {ABSOLUTE}",
        "",
        "The rule above uses signed means: errors cancel, and a loss that is lower everywhere passes. Without signs:",
        f"  mean |relative error| {np.abs(relative).mean():.6f}, largest {np.abs(relative).max():.6f} "
        f"at step {_worst(comparison)}",
        f"  mean |difference| {np.abs(difference).mean():.6f}, bias {mean_absolute:+.6f}",
        f"  {len(difference)} steps in both logs, {comparison.left_out} in one log only",
    ]
    if zeros := int((comparison.baseline == 0).sum()):
        lines.append(f"  {zeros} steps with a baseline of zero, which are left out of the relative errors")
    if broken := int((~np.isfinite(difference)).sum()):
        lines.append(f"  {broken} steps whose loss isn't finite")
    if len(difference) < SMOOTHED:
        lines.append(f"  fewer than {SMOOTHED} steps: too few for a conclusion, and the plot isn't smoothed")
    strict = "pass" if comparison.passes_strictly() else "fail"
    return "\n".join([*lines, f"strict: {strict}, mean |relative error| must be at most {RELATIVE}"])


def _worst(comparison: Comparison) -> int:
    steps = comparison.steps[comparison.baseline != 0]
    return int(steps[np.abs(comparison.relative).argmax()])


def draw(comparison: Comparison, path: Path) -> None:
    """Plot both losses, smoothed as in the model zoo's plot, and the difference below. The suffix of `path` chooses
    PNG, JPEG or PDF.

    Raises:
        UserError: if matplotlib or scipy isn't installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from scipy.signal import savgol_filter
    except ImportError as error:
        raise UserError("--plot needs matplotlib and scipy: pip install 'modeling-ocrnet[plot]'") from error

    def smooth(values: np.ndarray) -> np.ndarray:
        return savgol_filter(values, SMOOTHED, 1) if len(values) >= SMOOTHED else values

    figure = Figure(figsize=(12, 8), layout="constrained")
    FigureCanvasAgg(figure)
    losses, differences = figure.subplots(2, sharex=True, height_ratios=(3, 1))
    losses.plot(comparison.steps, smooth(comparison.baseline), label="baseline")
    losses.plot(comparison.steps, smooth(comparison.candidate), label="candidate")
    losses.set(title="Model Training Loss Curves (Smoothed)", ylabel="Loss")
    losses.legend()
    differences.axhline(0, color="grey", linewidth=0.8)
    differences.plot(comparison.steps, comparison.candidate - comparison.baseline, color="tab:red")
    differences.set(xlabel="Iteration", ylabel="candidate - baseline")
    try:
        with writing(path):
            figure.savefig(path, dpi=120)
    except ValueError as error:  # matplotlib raises it for an unknown suffix
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: {reason(error)}") from error
