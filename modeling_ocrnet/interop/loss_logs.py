"""Reads losses from training logs of the SDAA model zoo, of mmengine and of this project."""

from __future__ import annotations

import json
import re
from pathlib import Path

from ..common.errors import FileError, MissingFileError, UserError, reason

_NUMBER = r"([-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|nan|inf))"
# several ranks may write into the same line: an entry ends at the beginning of the next
_MODEL_ZOO = re.compile(
    rf"Epoch\s*:\s*(\d+)\s+Iteration\s*:\s*(\d+)\s+rank\s*:\s*(\d+)(?:(?!TCAPPDLL).)*?\btrain\.loss\s*:\s*{_NUMBER}"
)
_MMENGINE = re.compile(rf"Iter\(train\)\s*\[\s*(\d+)/\d+\].*?\sloss: {_NUMBER}")
_MMENGINE_EPOCHS = re.compile(rf"Epoch\(train\)\s*\[(\d+)\]\[\s*(\d+)/(\d+)\].*?\sloss: {_NUMBER}")


def read_losses(path: Path) -> dict[int, float]:
    """The losses by step, in order; steps count from 1. If a step was logged twice (by a resumed run), the later loss
    is used.

    Args:
        path: a log with TCAPPDLL lines (whose iterations count from 0; losses are averaged over ranks), mmengine's
            text or JSON log, or our `metrics.jsonl`.

    Raises:
        MissingFileError: if there is no such file.
        UserError: if it holds no losses.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError as error:
        raise MissingFileError(f"{path}: no such file") from error
    except OSError as error:
        raise FileError(f"{path}: can't be read ({reason(error)})") from error
    losses = _model_zoo(text) or _json_lines(text) or _mmengine(text)
    if not losses:
        raise UserError(
            f"{path}: holds no losses; expected TCAPPDLL lines with train.loss, mmengine's log (text or JSON), or a "
            "metrics.jsonl of ocrnet train"
        )
    return dict(sorted(losses.items()))


def _model_zoo(text: str) -> dict[int, float]:
    entries = {
        (int(epoch), int(iteration), int(rank)): float(loss)
        for epoch, iteration, rank, loss in _MODEL_ZOO.findall(text)
    }
    by_epoch: dict[int, set[int]] = {}
    for epoch, iteration, _ in entries:
        by_epoch.setdefault(epoch, set()).add(iteration)
    # if iterations restart in each epoch, the length of an epoch is that of the longest
    overlap = sum(map(len, by_epoch.values())) > len(set().union(*by_epoch.values()))
    length = 1 + max(map(max, by_epoch.values())) if overlap else 0
    ranks: dict[int, list[float]] = {}
    for (epoch, iteration, _), loss in entries.items():
        ranks.setdefault(epoch * length + iteration + 1, []).append(loss)
    return {step: sum(losses) / len(losses) for step, losses in ranks.items()}


def _json_lines(text: str) -> dict[int, float]:
    losses = {}
    for line in text.splitlines():
        if not line.startswith("{"):
            continue
        try:
            record = json.loads(line)
        except ValueError:  # the truncated last line of a killed run
            continue
        step = record.get("step", record.get("iter"))
        if isinstance(step, int) and isinstance(record.get("loss"), int | float) and record.get("mode") != "val":
            losses[step] = float(record["loss"])
    return losses


def _mmengine(text: str) -> dict[int, float]:
    losses = {int(step): float(loss) for step, loss in _MMENGINE.findall(text)}
    for epoch, iteration, length, loss in _MMENGINE_EPOCHS.findall(text):
        losses[(int(epoch) - 1) * int(length) + int(iteration)] = float(loss)
    return losses
