"""Do the launcher and Accelerate agree about what was started?"""

from __future__ import annotations

import os

from accelerate import Accelerator, DistributedType

from ..common.errors import UserError


def check_launch(accelerator: Accelerator) -> None:
    """Stop where Accelerate silently runs something else than `accelerate launch` was asked for.

    Raises:
        UserError: where processes don't know of each other, or nobody would shard the model.
    """
    launched = int(os.environ.get("WORLD_SIZE", 1))
    if accelerator.num_processes != launched:
        raise UserError(
            f"the launcher started {launched} processes, but Accelerate sees {accelerator.num_processes}: each would "
            "work alone. On CPUs, put ACCELERATE_USE_CPU=true before `accelerate launch --multi_gpu`; where other "
            "devices were expected, see whether torch finds them"
        )
    asked = {"ACCELERATE_USE_FSDP": DistributedType.FSDP, "ACCELERATE_USE_DEEPSPEED": DistributedType.DEEPSPEED}
    for variable, kind in asked.items():
        if os.environ.get(variable, "false").lower() == "true" and accelerator.distributed_type != kind:
            raise UserError(
                f"the launch configuration asks for {kind.value}, but Accelerate runs "
                f"{accelerator.distributed_type.value} on {accelerator.device}: it shards only on devices other than "
                "the CPU; choose another file of configuration/accelerate"
            )
