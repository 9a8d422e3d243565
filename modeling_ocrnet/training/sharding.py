"""What FSDP and DeepSpeed need beyond the other ways to launch. Anywhere else, nothing here does anything.

FSDP (version 2) shares parameters, gradients and optimizer state out over the processes, as one unit: OCRNet has 6 to
70 million parameters, and what takes memory are its activations. DeepSpeed's ZeRO 2 shares out the latter two.
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
    """Tell the plugin that the launch configuration made what only the recipe knows.

    Raises:
        UserError: for configurations that OCRNet can't be trained under.
    """
    kind = accelerator.distributed_type
    if recipe.model.ema_decay is not None and kind in (DistributedType.FSDP, DistributedType.DEEPSPEED):
        raise UserError(
            f"model.ema_decay averages whole weights, which {kind.value} shares out: leave it out, or launch without "
            f"{kind.value} (configuration/accelerate/gpu_4.yaml)"
        )
    if accelerator.distributed_type == DistributedType.FSDP:
        plugin = fsdp_plugin(accelerator)
        if plugin.fsdp_version != 2 or plugin.auto_wrap_policy is not None:
            raise UserError(
                "FSDP needs fsdp_version: 2 and fsdp_auto_wrap_policy: NO_WRAP; see configuration/accelerate/fsdp.yaml"
            )
        # parameters stay in float32 and autocast decides by operation, as it does without FSDP: the plugin's policy
        # would cast weights and outputs to half precision
        plugin.mixed_precision_policy = None
    if accelerator.distributed_type == DistributedType.DEEPSPEED:
        options = deepspeed_settings(accelerator)
        options["train_micro_batch_size_per_gpu"] = recipe.micro_batch
        options["gradient_accumulation_steps"] = recipe.accumulation_steps(accelerator.num_processes)
        options["gradient_clipping"] = recipe.optimizer.clip_norm or 0.0


def supports_channels_last(accelerator: Accelerator) -> bool:
    """Whether weights may be stored so: FSDP refuses parameters that aren't contiguous (images may always be)."""
    return accelerator.distributed_type != DistributedType.FSDP


def supports_fused_optimizer(accelerator: Accelerator) -> bool:
    """Whether fused kernels may update the weights: torch has none for SGD on FSDP's pieces of them."""
    return accelerator.distributed_type != DistributedType.FSDP


@contextmanager
def unsharded(accelerator: Accelerator, model: torch.nn.Module) -> Iterator[None]:
    """All parameters in every process, so that processes may compute on different numbers of images."""
    if not accelerator.is_fsdp2:
        yield
        return
    model.unshard()
    try:
        yield
    finally:
        model.reshard()


def unsharded_model(accelerator: Accelerator, model: OCRNetForSemanticSegmentation) -> OCRNetForSemanticSegmentation:
    """What the main process can `save_pretrained`; all processes must ask.

    FSDP gives a model's class another name, which would end up in `config.json` and doesn't exist elsewhere.
    """
    if not accelerator.is_fsdp2:
        return model
    weights = accelerator.get_state_dict(model)  # complete in the main process alone
    with torch.device("meta"):
        copy = OCRNetForSemanticSegmentation(model.config)
    if accelerator.is_main_process:
        copy.load_state_dict(weights, assign=True)
    return copy
