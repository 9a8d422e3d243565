"""What processes must know of each step, without making the device wait: is the loss finite, does one want to stop?"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import torch
from accelerate import Accelerator, DistributedType
from accelerate.utils import gather_object

from ..common.compat import skip_step_if
from .failure import NonFiniteLoss
from .optimization import skips_steps
from .to_device import copies_in_background


@dataclass
class _Step:
    """A step whose flags haven't been read: they are on the host after `copied`. The rest is for an error's message."""

    number: int
    flags: torch.Tensor
    copied: torch.Event | None
    losses: list[torch.Tensor]
    names: list[list[str]]


class StepFlags:
    """Two flags a step: the loss isn't finite, and a process wants to stop. All processes read the same ones.

    A device works through what it was told while the host prepares the next step; a host that reads a number from it
    waits until it has nothing left to do. So the flags are summed on the device, copied in the background, and read
    when the next step is about to change the weights (`deferred`). Until then the optimizer's kernels see the first
    flag and leave weights and moments as they are. On a CPU, reading costs nothing and is done at once.

    Batch norm's running statistics, and with them a moving average, have seen a batch whose loss isn't finite. Nothing
    reads them: the run ends before an evaluation or a checkpoint.

    Args:
        accelerator: that trains.
        optimizer: as torch has it, not wrapped.
        deferred: whether a step's flags are read at the next one. `None`: if the device isn't a CPU, can copy in the
            background, and has an optimizer that skips steps by itself. FSDP and DeepSpeed, whose optimizers have
            pieces of the weights, read at once.
    """

    def __init__(self, accelerator: Accelerator, optimizer: torch.optim.Optimizer, deferred: bool | None = None):
        self.accelerator, self.optimizer = accelerator, optimizer
        kind = accelerator.distributed_type
        # DeepSpeed's backward pass changes the weights too
        self.before_backward = kind == DistributedType.DEEPSPEED
        if deferred is None:
            sharded = kind in (DistributedType.FSDP, DistributedType.DEEPSPEED)
            deferred = not sharded and copies_in_background(accelerator.device) and skips_steps(optimizer)
        self.deferred = deferred
        self.stop = False
        """Whether a process wanted to stop at one of the steps that were read."""
        self._unread: deque[_Step] = deque()

    def submit(self, step: int, losses: list[torch.Tensor], names: list[list[str]], stop: bool = False) -> None:
        """Hand in a step whose gradients are there, before they are clipped and the weights change.

        Args:
            step: counted from 0.
            losses: of its micro-batches on this process: sum, OCR and auxiliary, (3,) each, on the device.
            names: of the micro-batches' samples.
            stop: this process wants to stop.

        Raises:
            NonFiniteLoss: in all processes alike: for this step, or, if deferred, for the one before.
        """
        broken = (~torch.stack(losses).isfinite()).any().float()
        flags = torch.stack([broken, torch.full_like(broken, float(stop))])
        if self.accelerator.num_processes > 1:
            flags = self.accelerator.reduce(flags, "sum")
        if self.deferred:
            self.read()  # of the step before
            skip_step_if(flags[0].clamp(max=1), self.optimizer, self.accelerator.scaler)
        copied = None
        if self.deferred and flags.device.type != "cpu":
            flags, copied = _copy_to_host(flags)
        self._unread.append(_Step(step, flags, copied, losses, names))
        if not self.deferred:
            self.read()

    def read(self) -> None:
        """Read the flags of all steps that were submitted: call this before anything is kept of the weights.

        Raises:
            NonFiniteLoss: in all processes alike.
        """
        while self._unread:
            step = self._unread.popleft()
            if step.copied is not None:
                step.copied.synchronize()
            broken, stop = step.flags.tolist()
            if broken:
                raise NonFiniteLoss(self._describe(step))
            self.stop = self.stop or stop > 0

    def _describe(self, step: _Step) -> str:
        """What to say of a step, from the first micro-batch of each process whose loss isn't finite."""
        found = [(loss.tolist(), names) for loss, names in zip(step.losses, step.names, strict=True)]
        mine = [(loss, names) for loss, names in found if not torch.tensor(loss).isfinite().all()][:1]
        said = [
            f"the loss of step {step.number + 1} is {loss[0]} (OCR {loss[1]}, auxiliary {loss[2]}); samples: "
            f"{', '.join(names)}"
            for loss, names in gather_object(mine)
        ]
        return (
            f"{'; '.join(said)}. The last checkpoint is intact; a lower optimizer.lr, a warm-up or optimizer.clip_norm "
            "may help"
        )


def _copy_to_host(flags: torch.Tensor) -> tuple[torch.Tensor, torch.Event]:
    """The flags in the host's memory: they are there after the event."""
    host = torch.empty(flags.shape, dtype=flags.dtype, pin_memory=True)
    host.copy_(flags, non_blocking=True)
    copied = torch.Event(flags.device)
    copied.record()
    return host, copied
