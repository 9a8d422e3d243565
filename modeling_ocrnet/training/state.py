"""Where a run stands: what `state.json` in a checkpoint says, and whether a run may go on from it."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from accelerate import Accelerator, DistributedType
from datasets import Dataset, IterableDataset

from ..common.errors import UserError, reason
from ..data.labels import LabelSet
from ..data.sampling import Order
from .run_time import check_taken, nothing_taken

logger = logging.getLogger("modeling_ocrnet.training")

_OLDER_KEYS = {"facts": "fingerprint"}
_REMEDY = "resume from another checkpoint of the run"


class CheckpointError(UserError, RuntimeError):
    """A checkpoint isn't there, is damaged, or doesn't belong to this run."""


def damaged(path: Path, why: str) -> CheckpointError:
    """The error for a file of a checkpoint that doesn't hold what a run writes."""
    return CheckpointError(f"{path}: can't be resumed from ({why}): {_REMEDY}")


def not_a_checkpoint(path: Path) -> CheckpointError:
    """The error for a path that `--resume` can't go on from; it says which option was meant."""
    if path.is_file() or (path / "config.json").is_file():
        return CheckpointError(
            f"--resume {path}: a model's weights, not a checkpoint of a run. To start a new run from them, give "
            f"--model.init_from {path}; --resume goes on with a run: give `last` or a folder checkpoints/step-..."
        )
    if (path / "checkpoints").is_dir():
        return CheckpointError(f"--resume {path}: a run's folder: give --output {path} --resume last")
    return CheckpointError(
        f"{path}: not a checkpoint (no state.json); give `last` or a folder checkpoints/step-..., or, to start from a "
        f"model's weights, --model.init_from {path}"
    )


@dataclass
class TrainState:
    """What training has come to, beside weights, optimizer and random generators.

    Args:
        step: optimizer steps done.
        best: `step`, `weights` (`raw` or `ema`) and `mean_iou` of the best evaluation so far.
        scores: the last evaluation's, of the trained weights: what `metrics.json` holds.
        ema_scores: the last evaluation's, of the weights' moving average.
        skipped: samples that could not be read and were replaced, of all processes.
        stream: how far each worker of each process has come, if the data are a stream: epoch and samples.
        seconds: what the run has used of its time, if that was given instead of a number of steps.
        share: how much of the schedule is over then, 0 to 1.
        minutes: the time that was given; `None` in checkpoints of older versions, too.
        took: `seconds` that the run has taken, and the `steps` that were done in them; see [`RunTime`].
        fingerprint: what the run depends on beside its recipe, from [`run_fingerprint`].
    """

    step: int = 0
    best: dict[str, Any] | None = None
    scores: dict[str, Any] | None = None
    ema_scores: dict[str, Any] | None = None
    skipped: int = 0
    stream: list[list] | None = None
    seconds: float | None = None
    share: float = 0.0
    minutes: float | None = None
    took: dict[str, Any] = field(default_factory=nothing_taken)
    fingerprint: dict[str, Any] = field(default_factory=dict)

    def state_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)

    def load_state_dict(self, values: dict[str, Any]) -> None:
        """Take over what [`state_dict`] gave, also an older version's; keys that are missing keep their value.

        Raises:
            ValueError, KeyError, TypeError: if a value can't be one that a run writes.
        """
        values = {_OLDER_KEYS.get(key, key): value for key, value in values.items()}
        step, best = values["step"], values["best"]
        if type(step) is not int or step < 0:
            raise ValueError(f"step is {step!r}, expected 0 or more")
        if best is not None and not isinstance(best["mean_iou"], float | int):
            raise ValueError(f"best is {best!r}")
        for key in ("scores", "ema_scores", "fingerprint"):
            if not isinstance(values.get(key), dict | None):
                raise ValueError(f"{key} is {values[key]!r}, expected fields and values")
        if type(values.get("skipped", 0)) is not int or not isinstance(values.get("stream"), list | None):
            raise ValueError(f"skipped is {values.get('skipped')!r} and stream {values.get('stream')!r}")
        seconds, share = values.get("seconds"), values.get("share", 0.0)
        if not (isinstance(seconds, float | None) and (seconds is None or 0 <= seconds < math.inf)):
            raise ValueError(f"seconds is {seconds!r}, expected 0 or more")
        if not (isinstance(share, float) and 0 <= share <= 1):
            raise ValueError(f"share is {share!r}, expected 0 to 1")
        minutes = values.get("minutes")
        if not (isinstance(minutes, float | None) and (minutes is None or 0 < minutes < math.inf)):
            raise ValueError(f"minutes is {minutes!r}, expected more than 0")
        if "took" not in values and seconds is not None:  # an older version's
            values["took"] = {"seconds": seconds, "steps": step}
        check_taken(values.get("took", nothing_taken()))
        for key in self.__dataclass_fields__.keys() & values.keys():
            setattr(self, key, values[key])
        self.fingerprint = self.fingerprint or {}

    def write(self, folder: Path) -> None:
        """As `state.json` in a checkpoint's folder."""
        (folder / "state.json").write_text(json.dumps(self.state_dict(), indent=2), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path, max_steps: int) -> TrainState:
        """The state in a checkpoint's folder.

        Raises:
            CheckpointError: if `state.json` isn't as a run of `max_steps` steps, or of some minutes, writes it.
        """
        file, state = folder / "state.json", cls()
        try:
            state.load_state_dict(json.loads(file.read_text(encoding="utf-8")))
            if state.step > max_steps and state.seconds is None:
                raise ValueError(f"step is {state.step}, expected 0 to {max_steps}")
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise damaged(file, reason(error, 200)) from error
        return state

    def stream_positions(self, accelerator: Accelerator) -> list[tuple[int, int]]:
        """How far this process's workers of the stream had come.

        Raises:
            CheckpointError: if there were more or fewer processes.
        """
        positions = self.stream or []
        if len(positions) != accelerator.num_processes:
            raise CheckpointError(
                f"{len(positions)} processes shared the stream in the checkpoint, now there are "
                f"{accelerator.num_processes}: resume with as many"
            )
        return [tuple(x) for x in positions[accelerator.process_index]]


def run_fingerprint(
    accelerator: Accelerator, data: Dataset | IterableDataset, labels: LabelSet, order: Order | None = None
) -> dict[str, Any]:
    """What a run depends on beside its recipe: the number of processes, the precision, and digests of its data.

    `data` covers the classes and the frames' names (a stream's frames are not known). So files may move, but a run
    can't go on with others. `class_tiles` covers what the order of samples depends on in the masks, if it does.
    """
    digest = hashlib.sha256(repr((labels.labels, labels.flip_pairs)).encode())
    fingerprint = {"processes": accelerator.num_processes, "precision": accelerator.mixed_precision}
    if isinstance(data, Dataset):
        fingerprint["frames"] = len(data)
        digest.update("\0".join(data.with_format(None)["name"][:]).encode())
    if order is not None and order.digest is not None:
        fingerprint["class_tiles"] = order.digest
    return {**fingerprint, "data": digest.hexdigest()}


def check_compatible(accelerator: Accelerator, path: Path, ours: dict, theirs: dict) -> int:
    """Compare this run's [`run_fingerprint`] with that of the run that wrote the checkpoint `path`.

    Another number of processes computes nearly the same: a warning says that it isn't the same to the bit.

    Returns:
        The number of processes that wrote the checkpoint.

    Raises:
        CheckpointError: if this run would compute something else.
    """
    known = ours.keys() & theirs.keys()
    if "precision" in known and ours["precision"] != theirs["precision"]:
        raise CheckpointError(
            f"{path} was trained with mixed precision {theirs['precision']}, now it is {ours['precision']}: launch "
            f"with --mixed_precision {theirs['precision']}"
        )
    if "data" in known and ours["data"] != theirs["data"]:
        raise CheckpointError(
            f"{path} was trained on other data: the training split's frames or classes have changed "
            f"({theirs.get('frames')} frames in the checkpoint, now {ours.get('frames')}), and with them the order of "
            "the samples: restore them, or start a new run in another --output"
        )
    if "class_tiles" in known and ours["class_tiles"] != theirs["class_tiles"]:
        raise CheckpointError(
            f"{path} was trained with other masks: where their classes lie has changed, and with it the order of the "
            "samples: restore them, or start a new run in another --output"
        )
    now, then = accelerator.num_processes, theirs.get("processes", accelerator.num_processes)
    if now != then and accelerator.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED):
        raise CheckpointError(f"{path} is shared out among {then} processes, now there are {now}: launch {then}")
    if now != then and accelerator.is_main_process:
        logger.warning(
            "%s was written by %d process%s, now there are %d: the samples and their order stay, but batch norm's "
            "statistics and dropout will differ from those of an uninterrupted run; launch %d for the same to the bit",
            path,
            then,
            "" if then == 1 else "es",
            now,
            then,
        )
    return then
