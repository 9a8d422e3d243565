"""Start a run from a trained OCRNet: its architecture and weights, and of its classes those that the data have too.

What isn't of the architecture is the recipe's: the loss, and the classes with their colours and ids.
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedConfig

from ..common.errors import UserError
from ..common.tables import text_table
from ..configuration_hrnet import VARIANTS
from ..configuration_ocrnet import OCRNetConfig
from ..conversion.hub_files import is_repository
from ..conversion.named_backbone import PUBLISHED, described_by
from ..conversion.starting_model import StartingModel
from ..data.labels import LabelSet
from ..data.unicode_names import nfc
from ..heads_ocrnet import OCRNetClassifier
from ..loss_fields_ocrnet import PARAMETERS
from ..modeling_ocrnet import OCRNetForSemanticSegmentation
from .recipe_checks import check_fields
from .recipe_model import ModelRecipe

# fields of the config that say how a network is trained: the recipe may change them
_TRAINING = ("dropout", "auxiliary_dropout", "batch_norm_momentum", "classifier_initializer_range", "zero_init_context")
_TRAINING_OF_BACKBONE = ("batch_norm_momentum", "zero_init_residual", "drop_path_rate", "attention_dropout")
# those of the loss: the recipe's alone
_LOSS = (
    "auxiliary_loss_weight",
    "loss_ignore_index",
    "losses",
    "auxiliary_losses",
    "loss_normalizer",
    *PARAMETERS,
)
_CLASSES = ("palette", "label_ids", "flip_pairs")
_WRITTEN = ("backbone_config", "custom_backbone", "modeling_ocrnet_version")
_OF_ALL_MODELS = {x.name for x in dataclasses.fields(PreTrainedConfig)}
# all others: shapes of weights, and what the weights compute
ARCHITECTURE = tuple(
    x.name
    for x in dataclasses.fields(OCRNetConfig)
    if x.name not in {*_TRAINING, *_LOSS, *_CLASSES, *_WRITTEN} | _OF_ALL_MODELS
)


def config_fields(recipe: ModelRecipe, start: StartingModel) -> dict[str, Any]:
    """Fields of the config of a model that starts from `start`, without those of classes.

    Raises:
        UserError: if the recipe gives a value that contradicts the architecture; the message names both.
    """
    config = start.config
    backbone: Any = config.backbone_config
    check_fields("model.config", recipe.config, OCRNetConfig)
    # properties of backbones' configs, not fields
    maps = {name for name in ("out_indices", "out_features") if hasattr(backbone, name)}
    of_backbone = {name: value for name, value in recipe.backbone_config.items() if name not in maps}
    check_fields("model.backbone_config", of_backbone, type(backbone))
    _check_variant(recipe.variant, start)
    for name, value in recipe.config.items():
        if name in ARCHITECTURE:
            _compare(f"model.config.{name}", value, getattr(config, name), start)
    for name, value in recipe.backbone_config.items():
        if name not in _TRAINING_OF_BACKBONE:
            _compare(f"model.backbone_config.{name}", value, getattr(backbone, name), start)
    backbone = copy.deepcopy(backbone)
    for name, value in of_backbone.items():
        setattr(backbone, name, value)
    kept = {name: getattr(config, name) for name in (*ARCHITECTURE, *_TRAINING)}
    return {**kept, "backbone_config": backbone, **recipe.config}


def _compare(name: str, given: Any, found: Any, start: StartingModel) -> None:
    given, found = (list(x) if isinstance(x, tuple) else x for x in (given, found))
    if given != found:
        raise UserError(
            f"{name} is {given!r}, but model.init_from {start.source} has {found!r}, which its weights were trained "
            "with: leave it out"
        )


def _check_variant(variant: str | None, start: StartingModel) -> None:
    """Check that a recipe's variant is the architecture of the model that it starts from.

    Raises:
        UserError: if not.
    """
    if variant is None:
        return
    found = variant_of(start.config)
    named = variant if variant in PUBLISHED else _architecture(variant)
    if named is None and start.config.backbone_config.model_type != "hrnet":  # type: ignore[union-attr]
        return
    if named is None or named.partition(".")[0] != found.partition(".")[0]:  # timm's tags are of weights
        raise UserError(f"model.variant is {variant}, but model.init_from {start.source} is {found}: leave one out")


def _architecture(variant: str) -> str | None:
    """The architecture that a named backbone's name says, as [`variant_of`] calls it; `None` for a repository, which
    needn't be fetched, and for a folder that is gone."""
    if Path(variant).expanduser().is_dir():
        described = described_by(variant)
        return described.get("model_type") or described.get("architecture")
    if variant.startswith("timm/"):
        return variant.removeprefix("timm/")
    return None if is_repository(variant) or variant.startswith(("/", ".", "~")) else variant


def variant_of(config: OCRNetConfig) -> str:
    """The name of a config's architecture: `hr18`, `r101-d8`, timm's name, or the backbone's model type."""
    backbone: Any = config.backbone_config
    if backbone.model_type == "timm_backbone":
        dilated = (backbone.backbone, backbone.output_stride) == ("resnet101c", 8)
        return "r101-d8" if dilated else backbone.backbone.removeprefix("timm/")
    if backbone.model_type != "hrnet":
        return backbone.model_type
    shape = {name: list(getattr(backbone, name)) for name in ("branch_channels", "stage_modules", "stage_blocks")}
    known = next((name for name, fields in VARIANTS.items() if fields == shape), None)
    return known or f"an HRNet with branches {'/'.join(map(str, backbone.branch_channels))}"


def continued_classes(labels: LabelSet, start: StartingModel, table: dict[str, str]) -> list[int | None]:
    """For each class of the data, the class of the starting model that it continues, or `None` if it starts anew.

    Args:
        labels: the data's classes.
        start: the model.
        table: names of the data's classes, each with that of a class of the model; other classes continue the one of
            the same name.

    Raises:
        UserError: if the table names a class that isn't there, or several of the model's classes have the name.
    """
    theirs = {nfc(name): index for index, name in start.config.id2label.items()}
    table = {nfc(ours): nfc(name) for ours, name in table.items()}
    turned = set(table) <= set(theirs) and set(table.values()) <= set(labels.names)
    for name, known, whose in (
        *((x, labels.names, "the data have") for x in table),
        *((x, list(theirs), f"{start.source} has") for x in table.values()),
    ):
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3) or list(known)[:5]
            hint = (
                "turn its pairs round: each is your class: the model's class" if turned else f"e.g. {', '.join(near)}"
            )
            raise UserError(f"model.init_classes names {name!r}, but {whose} no such class; {hint}")
    chosen = [table.get(name, name) for name in labels.names]
    counts = Counter(nfc(name) for name in start.config.id2label.values())
    for name in chosen:
        if counts[name] > 1:
            raise UserError(
                f"model.init_from {start.source} has {counts[name]} classes called {name!r}, and one of them can't be "
                "chosen: give each a name of its own in id2label of its config.json"
            )
    return [theirs.get(name) for name in chosen]


def carry_over(model: OCRNetForSemanticSegmentation, start: StartingModel, continued: list[int | None]) -> None:
    """Load a starting model's weights into a model of the same architecture, in place.

    A classifier's rows are those of the classes that are continued; the others keep the model's first weights.

    Args:
        model: with the data's classes.
        start: the starting model.
        continued: from [`continued_classes`].
    """
    classifiers = tuple(f"{name}." for name, x in model.named_modules() if isinstance(x, OCRNetClassifier))
    ours = [i for i, theirs in enumerate(continued) if theirs is not None]
    rows = [theirs for theirs in continued if theirs is not None]
    state = model.state_dict()
    for key, value in start.state.items():
        if key.startswith(classifiers):
            mixed = state[key].clone()
            mixed[ours] = value[rows]
            state[key] = mixed
        else:
            state[key] = value
    with torch.no_grad():
        model.load_state_dict(state)


def table_of_classes(labels: LabelSet, start: StartingModel, continued: list[int | None]) -> str:
    """A text that says which classes are continued, and which start anew."""
    names = start.config.id2label
    nearest = {_simple(name): name for name in names.values()}
    rows = []
    for name, index in zip(labels.names, continued, strict=True):
        near = nearest.get(_simple(name))
        hint = f" (is it {near}? then give --model.init_classes)" if near else ""
        rows.append((name, f"continues {names[index]}" if index is not None else f"starts anew{hint}"))
    left = [name for index, name in names.items() if index not in continued]
    count = sum(x is not None for x in continued)
    head = f"starts from {start.source}: {count} of {len(continued)} classes are continued"
    tail = f"\n  not continued: {', '.join(left[:20])}{' ...' if len(left) > 20 else ''}" if left else ""
    return f"{head}\n  " + text_table(rows, numbers=False).replace("\n", "\n  ") + tail


def _simple(name: str) -> str:
    """A name without what spellings differ by."""
    return "".join(x for x in nfc(name).casefold() if x.isalnum())
