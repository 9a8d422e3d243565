"""Check that Accelerate runs what the launcher started."""

from __future__ import annotations

import os

from accelerate import Accelerator, DistributedType

from ..common.errors import UserError


def check_launch(accelerator: Accelerator) -> None:
    """Check that Accelerate runs what `accelerate launch` was asked for. It may silently run something else.

    Raises:
        UserError: if the processes aren't connected, or the model wouldn't be sharded as requested.
    """
    launched = int(os.environ.get("WORLD_SIZE", 1))
    if accelerator.num_processes != launched:
        raise UserError(
            f"the launcher started {launched} processes, but Accelerate sees {accelerator.num_processes}: each would "
            "run on its own. On CPUs, put ACCELERATE_USE_CPU=true before `accelerate launch --multi_gpu`; if you "
            "expected other devices, check whether torch finds them"
        )
    asked = {"ACCELERATE_USE_FSDP": DistributedType.FSDP, "ACCELERATE_USE_DEEPSPEED": DistributedType.DEEPSPEED}
    for variable, kind in asked.items():
        if os.environ.get(variable, "false").lower() == "true" and accelerator.distributed_type != kind:
            raise UserError(
                f"the launch configuration asks for {kind.value}, but Accelerate runs "
                f"{accelerator.distributed_type.value} on {accelerator.device}: it shards only on devices other than "
                "the CPU; choose another file from configuration/accelerate"
            )
