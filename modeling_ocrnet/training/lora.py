"""Low-rank adapters (LoRA, by peft) in place of training all weights, and what a run leaves of them.

The adapters are layers within the network, so all else trains, scores and resumes it as any other. Batch norms stay in
eval mode: an adapter's file doesn't hold their statistics.
"""

from __future__ import annotations

import copy
import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from ..common.atomic_files import atomic_folder
from ..common.errors import UserError
from ..common.optional import import_optional
from ..gradient_checkpointing import enable_gradient_checkpointing
from ..heads_ocrnet import OCRNetClassifier
from ..modeling_ocrnet import OCRNetForSemanticSegmentation
from .backbone_parts import run_small
from .failure import saving
from .freezing import keep_frozen_norms_in_eval
from .recipe import Recipe

logger = logging.getLogger("modeling_ocrnet.training")

# beside each of a run's models, its adapter: in the same folder, from_pretrained would load it onto the merged weights
ADAPTER_FOLDERS = {"model": "adapter", "best": "adapter_best", "model_ema": "adapter_ema"}
_ADAPTER = "default"  # its name within the network


def add_adapters(model: OCRNetForSemanticSegmentation, recipe: Recipe) -> Any:
    """Put the recipe's adapters into a model, in place; from then on only they and what is trained whole are trained.

    Layers that `model.freeze` has frozen get none.

    Args:
        model: on its device, with the layers that it is trained with.
        recipe: whose `lora.rank` is set.

    Returns:
        The `PeftModel` around the model, which knows how to save and merge them.

    Raises:
        UserError: if peft isn't installed, or a name in the recipe is for no layer of the model.
    """
    peft, options = import_optional("peft"), recipe.lora
    whole = _trained_whole(model, recipe)
    targets = _targets(model, recipe, whole)
    count = sum(x.numel() for x in model.parameters())
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(_is_within(name, whole) and parameter.requires_grad)
    keep_frozen_norms_in_eval(model)
    config = peft.LoraConfig(
        r=options.rank,
        lora_alpha=options.alpha,
        lora_dropout=options.dropout,
        target_modules=targets,
        modules_to_save=whole or None,
    )
    # off for a moment: otherwise peft would let the images require gradients, which this checkpointing doesn't need
    checkpointing = [x for x in model.modules() if getattr(x, "gradient_checkpointing", False)]
    for layer in checkpointing:
        layer.gradient_checkpointing = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of transformers, for what peft calls
        adapter = peft.get_peft_model(model, config, adapter_name=_ADAPTER)
    adapter.peft_config[_ADAPTER].base_model_name_or_path = recipe.model.init_from
    if checkpointing:
        enable_gradient_checkpointing(model)
    if recipe.model.channels_last:
        model.to(memory_format=torch.channels_last)
    trained = sum(x.numel() for x in model.parameters() if x.requires_grad)
    logger.info(
        "LoRA of rank %d in %d layers: %d weights are trained, %.1f%% as many as the model has (whole: %s)",
        options.rank,
        len(targets),
        trained,
        100 * trained / count,
        ", ".join(whole) or "none",
    )
    return adapter


def _trained_whole(model: nn.Module, recipe: Recipe) -> list[str]:
    """Names of the modules that are trained whole; of one within another, the outer one."""
    ends = recipe.lora.train_whole
    trainable = [name for name, x in model.named_modules() if name and any(y.requires_grad for y in x.parameters())]
    if ends is None and recipe.model.init_from is None:
        return [name for name, _ in model.named_children() if name in trainable and name != "backbone"]
    found = _with_ends(trainable, ["classifier"] if ends is None else ends, "train_whole", "module that is trained")
    return [name for name in found if not _is_within(name, [x for x in found if x != name])]


def _targets(model: OCRNetForSemanticSegmentation, recipe: Recipe, whole: list[str]) -> list[str]:
    """Names of the layers that get adapters."""
    parts = ["backbone"] if recipe.model.init_from is None else [name for name, _ in model.named_children()]
    called = _called(model.backbone)
    adaptable = [
        name
        for name, layer in model.named_modules()
        if _can_adapt(layer) and layer.weight.requires_grad and not _is_within(name, whole)
        if not name.startswith("backbone.") or layer in called
    ]
    if recipe.lora.target_modules is not None:
        what = "convolution or linear layer that peft can adapt and merge, and that isn't frozen or trained whole"
        found = _with_ends(adaptable, recipe.lora.target_modules, "target_modules", what)
    else:
        found = [name for name in adaptable if _is_within(name, parts)]
    if not found:
        raise UserError(
            "lora.rank is set, but no layer is left to adapt: freeze less (model.freeze), train less whole "
            "(lora.train_whole), or leave lora.rank out"
        )
    return found


def _can_adapt(layer: nn.Module) -> bool:
    """Whether peft computes a layer's adapter as the layer, and merges it. Subclasses may compute anything; peft gives
    a convolution's adapter neither its dilation nor its padding's mode, and merges none with groups."""
    if type(layer) in (nn.Conv2d, OCRNetClassifier):
        undilated = layer.dilation == (1, 1) or layer.kernel_size == (1, 1)
        return bool(layer.groups == 1 and layer.padding_mode == "zeros" and undilated)
    return type(layer) is nn.Linear


def _called(backbone: Any) -> set[nn.Module]:
    """The layers that a backbone's forward pass calls. Some backbones read a layer's weight instead (timm's BEiT): an
    adapter in its place would do nothing."""
    layers, called = list(backbone.modules()), set()
    hooks = [x.register_forward_hook(lambda layer, *_: called.add(layer)) for x in layers]
    try:
        run_small(backbone)
    except ValueError:  # then nothing is known
        called.update(layers)
    finally:
        for hook in hooks:
            hook.remove()
    return called


def _with_ends(names: list[str], ends: list[str], field: str, what: str) -> list[str]:
    """The names that have one of these ends, whole parts between dots.

    Raises:
        UserError: if an end is that of none.
    """
    for end in ends:
        if not any(f".{name}".endswith(f".{end}") for name in names):
            raise UserError(
                f"lora.{field} has {end!r}, but that is the end of the name of no {what}: there is, for instance, "
                f"{names[0] if names else 'none'}; list(model.named_modules()) shows all"
            )
    return [name for name in names if any(f".{name}".endswith(f".{end}") for end in ends)]


def _is_within(name: str, modules: list[str]) -> bool:
    """Whether a name is that of one of these modules, or of a part of one."""
    return any(name == x or name.startswith(f"{x}.") for x in modules)


def keep_adapter(accelerator: Accelerator, adapter: Any, model: nn.Module, folder: Path) -> nn.Module:
    """Write the adapter that goes with a model's folder, as peft does, and merge it.

    Args:
        accelerator: whose main process writes.
        adapter: of [`add_adapters`].
        model: the network with the adapter's layers whose weights are wanted: the trained one, or its average.
        folder: the model's folder, one of [`ADAPTER_FOLDERS`]; the adapter's is beside it.

    Returns:
        A copy of the model on the CPU with plain layers, which computes the same within rounding.
    """
    copied = copy.deepcopy(adapter)
    base = copied.get_base_model()
    for name in ("forward", "_original_forward"):  # accelerate's, for the precision; they refer to the trained model
        base.__dict__.pop(name, None)
    base.load_state_dict(model.state_dict())
    copied.cpu()  # some devices multiply with fewer bits
    target = folder.with_name(ADAPTER_FOLDERS[folder.name])
    with saving(target), atomic_folder(target, accelerator) as written:
        if accelerator.is_main_process:
            copied.save_pretrained(written, save_embedding_layers=False)
    return copied.merge_and_unload()
