"""Loads the weights of a named backbone, of transformers or timm. No weight is left at random without an error."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import BackboneMixin
from transformers.utils import logging as transformers_logging

from ..common.errors import MissingFileError, UserError, reason
from .hub_files import folder_file, is_repository, reachable
from .loading import read_checkpoint
from .named_backbone import described_by, find_backbone, import_timm
from .pretrained import explained
from .weights import check_weights

logger = logging.getLogger(__name__)

_SUFFIXES = (".safetensors", ".bin", ".pth", ".pt")
_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.BatchNorm2d)


def load_backbone(backbone: BackboneMixin, source: str) -> None:
    """Load weights into a backbone, in place.

    Args:
        backbone: of transformers, or a `TimmBackbone`.
        source: a repository on the Hub, a local folder, a .safetensors, .bin, .pth or .pt file; for timm's, the name of
            a timm network too.

    Raises:
        FileError: if the source can't be found or downloaded; the message says what to do.
        UserError: if it has no weights, they don't fit the backbone, or aren't finite.
    """
    is_timm = backbone.config.model_type == "timm_backbone"
    loaded = (_timm_state if is_timm else _transformers_state)(backbone, source)
    check_weights(loaded.items(), source)
    (backbone._backbone if is_timm else backbone).load_state_dict(loaded)


def is_file(source: str) -> bool:
    """Whether a source of weights is a local file.

    Raises:
        MissingFileError: if it looks like one, but there is none.
    """
    path = Path(source).expanduser()
    if path.is_file():
        return True
    if (path.suffix in _SUFFIXES or source.startswith(("/", ".", "~"))) and not path.is_dir():
        raise MissingFileError(
            f"{source}: no such file or folder; give a repository or a local file as model.backbone, or null to train "
            "from scratch"
        )
    return False


def _transformers_state(backbone: BackboneMixin, source: str) -> dict[str, torch.Tensor]:
    """A state dict for one of transformers' own backbones, as its class reads it from a checkpoint."""
    kind = type(backbone).__name__
    # shapes that don't fit are in the report then, by their names
    options: dict[str, Any] = {"output_loading_info": True, "ignore_mismatched_sizes": True}
    if is_file(source):
        place, options["state_dict"] = None, read_checkpoint(Path(source).expanduser()).state
    else:
        _check_model_type(backbone, source)
        folder = Path(source).expanduser()
        place = str(folder) if folder.is_dir() else source
    with reachable(source), explained(source), _no_report():
        loaded, report = type(backbone).from_pretrained(place, config=copy.deepcopy(backbone.config), **options)
    misfits = sorted(x if isinstance(x, str) else x[0] for x in report["mismatched_keys"])
    missing = sorted(report["missing_keys"])
    norms = [x for x in missing if isinstance(loaded.get_submodule(x.rpartition(".")[0]), _NORMS)]
    if wrong := misfits or [x for x in missing if x not in norms]:
        what = "has another shape" if misfits else "is missing"
        raise UserError(
            f"{source}: not the weights of this backbone ({kind}): {wrong[0]} {what}, and {len(wrong) - 1} more: "
            "choose weights of the same architecture, or set model.backbone_config to theirs"
        )
    if norms:
        logger.info("%s has no weights for %s, which start as they are initialised", source, ", ".join(norms))
    return loaded.state_dict()


@contextmanager
def _no_report() -> Iterator[None]:
    """transformers says nothing of what is missing: it is said here, or is an error."""
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)


def _check_model_type(backbone: BackboneMixin, source: str) -> None:
    if not Path(source).expanduser().is_dir() and not is_repository(source):
        raise UserError(
            f"model.backbone {source} names no weights: give a repository (owner/name), a local folder or file, or "
            "null to train from scratch"
        )
    found, expected = described_by(source).get("model_type"), backbone.config.model_type
    if found != expected:
        raise UserError(f"{source}: its model type is {found!r}, that of model.variant {expected!r}: they must be one")


def _timm_state(backbone: BackboneMixin, source: str) -> dict[str, torch.Tensor]:
    """A state dict for timm's network inside a `TimmBackbone`, as timm itself loads it."""
    timm: Any = import_timm("this backbone")
    config = backbone.config
    name, file = _timm_source(source, config.backbone)
    if name.partition(".")[0] != config.backbone.partition(".")[0]:
        raise UserError(f"{source}: weights of timm's {name}, but model.variant is timm's {config.backbone}")
    # with the name of a classifier, timm would load what fits, and leave the rest at random
    overlay: dict[str, Any] = {"classifier": None}
    if file is not None:  # read here: no code in it runs
        state = read_checkpoint(file).state
        overlay |= {"state_dict": state, "num_classes": _classes_in(state, timm.get_pretrained_cfg(name))}
    options = {"features_only": True, "out_indices": config.out_indices, "output_stride": config.output_stride}
    try:
        with reachable(source):
            network = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, **options)
    except (RuntimeError, KeyError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{source}: not the weights of timm's {name} ({reason(error)})") from error
    state, own = network.state_dict(), backbone._backbone.state_dict()
    if wrong := [key for key in own if key not in state or state[key].shape != own[key].shape]:
        raise UserError(f"{source}: {wrong[0]} doesn't fit timm's {config.backbone}, and {len(wrong) - 1} more")
    return state


def _timm_source(source: str, network: str) -> tuple[str, Path | None]:
    """The timm network that a source has weights of, and their file if timm doesn't know where they are."""
    if is_file(source):
        return network, Path(source).expanduser()
    found = find_backbone(source)
    if not found.is_timm or found.source is None:
        raise UserError(f"{source}: not weights of timm's, but model.variant is timm's {network}")
    if found.source == found.config.backbone:
        return found.source, None
    file = folder_file(source, "model.safetensors") or folder_file(source, "pytorch_model.bin")
    if file is None:
        raise UserError(f"{source}: holds neither model.safetensors nor pytorch_model.bin")
    return network, file


def _classes_in(state: dict[str, torch.Tensor], described: Any) -> int:
    """The number of classes of the classifier in weights of timm's; 0 if they have none."""
    classifier = described.classifier if described is not None else None
    names = (classifier,) if isinstance(classifier, str) else classifier or ()
    return next((len(state[f"{x}.weight"]) for x in names if f"{x}.weight" in state), 0)
