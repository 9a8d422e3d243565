"""Support for FSDP and DeepSpeed. With other launch configurations, these functions change nothing.

FSDP (version 2) shards parameters, gradients and optimizer state over the processes, as one unit: OCRNet has only 6 to
70 million parameters, and most memory is taken by its activations. DeepSpeed's ZeRO 2 shards gradients and optimizer
state.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from accelerate import Accelerator, DistributedType

from ..common.compat import deepspeed_settings, fsdp_plugin
from ..common.errors import UserError
from ..modeling_ocrnet import OCRNetForSemanticSegmentation
from .recipe import Recipe


def set_up_sharding(accelerator: Accelerator, recipe: Recipe) -> None:
    """Pass the recipe's settings to the plugin that the launch configuration created.

    Raises:
        UserError: if OCRNet can't be trained with the launch configuration.
    """
    kind = accelerator.distributed_type
    if recipe.model.ema_decay is not None and kind in (DistributedType.FSDP, DistributedType.DEEPSPEED):
        raise UserError(
            f"model.ema_decay averages whole weights, but {kind.value} shards them: leave it out, or launch without "
            f"{kind.value} (configuration/accelerate/gpu_4.yaml)"
        )
    if recipe.lora.rank is not None and kind in (DistributedType.FSDP, DistributedType.DEEPSPEED):
        raise UserError(
            f"lora.rank adds adapters, whose model is merged from whole weights, but {kind.value} shards them: launch "
            f"without {kind.value} (configuration/accelerate/gpu_4.yaml); adapters need less memory anyway"
        )
    if accelerator.distributed_type == DistributedType.FSDP:
        plugin = fsdp_plugin(accelerator)
        if plugin.fsdp_version != 2 or plugin.auto_wrap_policy is not None:
            raise UserError(
                "FSDP needs fsdp_version: 2 and fsdp_auto_wrap_policy: NO_WRAP; see configuration/accelerate/fsdp.yaml"
            )
        # The plugin's policy would cast weights and outputs to half precision. Without it, parameters stay float32 and
        # autocast chooses the precision by operation, as without FSDP.
        plugin.mixed_precision_policy = None
    if accelerator.distributed_type == DistributedType.DEEPSPEED:
        options = deepspeed_settings(accelerator)
        options["train_micro_batch_size_per_gpu"] = recipe.micro_batch
        options["gradient_accumulation_steps"] = recipe.accumulation_steps(accelerator.num_processes)
        options["gradient_clipping"] = recipe.optimizer.clip_norm or 0.0


def supports_channels_last(accelerator: Accelerator) -> bool:
    """Whether weights may be channels_last. FSDP refuses parameters that aren't contiguous. Images always may be."""
    return accelerator.distributed_type != DistributedType.FSDP


def supports_fused_optimizer(accelerator: Accelerator) -> bool:
    """Whether fused kernels can update the weights. torch has none for SGD on FSDP's shards."""
    return accelerator.distributed_type != DistributedType.FSDP


@contextmanager
def unsharded(accelerator: Accelerator, model: torch.nn.Module) -> Iterator[None]:
    """A context in which every process has all parameters, so that processes can use different numbers of images."""
    if not accelerator.is_fsdp2:
        yield
        return
    model.unshard()  # type: ignore[operator]  # fully_shard adds it
    try:
        yield
    finally:
        model.reshard()  # type: ignore[operator]


def unsharded_model(accelerator: Accelerator, model: OCRNetForSemanticSegmentation) -> OCRNetForSemanticSegmentation:
    """A model that the main process can save by `save_pretrained`. All processes must call this.

    FSDP changes the name of the model's class. That name would be written to `config.json`, but no code has it.
    """
    if not accelerator.is_fsdp2:
        return model
    weights = accelerator.get_state_dict(model)  # complete only in the main process
    with torch.device("meta"):
        copy = OCRNetForSemanticSegmentation(model.config)
    if accelerator.is_main_process:
        copy.load_state_dict(weights, assign=True)
    return copy
