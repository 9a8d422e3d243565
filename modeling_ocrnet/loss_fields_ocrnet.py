# SPDX-License-Identifier: Apache-2.0
"""The config's fields of the losses: their checks, and the names that weights had before."""

import difflib
import math
from collections.abc import Mapping
from typing import Any, ClassVar

from transformers.utils import logging

logger = logging.get_logger(__name__)

LOSS_NAMES = ("cross_entropy", "lovasz", "dice", "focal", "rmi", "bootstrapped_cross_entropy")
# fields that some losses alone read
PARAMETERS: dict[str, tuple[str, ...]] = {
    "class_weights": ("cross_entropy", "bootstrapped_cross_entropy"),
    "label_smoothing": ("cross_entropy",),
    "ohem_threshold": ("cross_entropy",),
    "ohem_min_kept": ("cross_entropy",),
    "focal_gamma": ("focal",),
    "focal_alpha": ("focal",),
    "rmi_pooling": ("rmi",),
    "bootstrap_min_kept": ("bootstrapped_cross_entropy",),
    "bootstrap_threshold": ("bootstrapped_cross_entropy",),
}
OLD_WEIGHTS = {"cross_entropy_weight": "cross_entropy", "lovasz_weight": "lovasz"}
# what others call them
_OTHER_NAMES = {"ce": "cross_entropy", "bce": "cross_entropy", "nll": "cross_entropy", "ohem": "cross_entropy"}
_OTHER_NAMES |= {"jaccard": "lovasz", "iou": "lovasz", "bootstrap": "bootstrapped_cross_entropy"}
_EXAMPLE = "{cross_entropy: 1.0, dice: 0.5}"


class LossFieldsMixin:
    """A config's check of its loss, and the old names of entries of `losses` as properties."""

    losses: dict[str, Any] | None
    auxiliary_losses: dict[str, Any] | None
    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def cross_entropy_weight(self) -> float:
        """Weight of the cross-entropy; 0 if it isn't in `losses`."""
        return (self.losses or {}).get("cross_entropy", 0.0)

    @cross_entropy_weight.setter
    def cross_entropy_weight(self, weight: float):
        self.losses = {**(self.losses or {}), "cross_entropy": weight}

    @property
    def lovasz_weight(self) -> float:
        """Weight of the Lovász-softmax; 0 if it isn't in `losses`."""
        return (self.losses or {}).get("lovasz", 0.0)

    @lovasz_weight.setter
    def lovasz_weight(self, weight: float):
        self.losses = {**(self.losses or {}), "lovasz": weight}

    def validate_loss(self):
        """Check the loss's fields; one that no loss reads is a warning, since files may hold it."""
        check_loss_fields(self)
        fields = type(self).__dataclass_fields__
        changed = {name: x for name in PARAMETERS if (x := getattr(self, name)) != fields[name].default}
        losses = {"losses": self.losses, "auxiliary_losses": self.auxiliary_losses}
        if problem := unused_parameter({**losses, **changed}):
            logger.warning_once(problem)


def fold_old_weights(given: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a config with the old names of weights folded into `losses`.

    Args:
        given: names and values; `losses` may be missing or `None`.

    Raises:
        ValueError: if a weight can't be, or an old name contradicts `losses`; the message names both.
    """
    old = {name: given[name] for name in OLD_WEIGHTS if given.get(name) is not None}
    rest = {name: value for name, value in given.items() if name not in OLD_WEIGHTS}
    if not old:
        return rest
    for name, weight in old.items():
        _check_number(name, weight)
    losses = given.get("losses")
    if losses is None:
        weights = {"cross_entropy": 1.0} | {OLD_WEIGHTS[name]: weight for name, weight in old.items()}
        if not any(weights.values()):
            raise ValueError("cross_entropy_weight and lovasz_weight are both 0: there would be no loss")
        return {**rest, "losses": {name: weight for name, weight in weights.items() if weight}}
    check_weights("losses", losses)
    for name, weight in old.items():
        if weight != losses.get(OLD_WEIGHTS[name], 0):
            raise ValueError(
                f"losses is {dict(losses)}, but {name}, the old name of its {OLD_WEIGHTS[name]}, is {weight}: leave "
                f"{name} out"
            )
    return rest


def check_weights(field: str, losses: Any) -> None:
    """Check the weights of losses.

    Args:
        field: the name of their field, for messages.
        losses: weights by the names of losses.

    Raises:
        ValueError: if a loss is unknown, a weight is no number of 0 or more, or all are 0.
    """
    if not isinstance(losses, Mapping):
        raise ValueError(f"{field} is {losses!r}, expected losses, each with its weight, as in {_EXAMPLE}")
    for name, weight in losses.items():
        if name not in LOSS_NAMES:
            word = str(name).lower()
            near = [_OTHER_NAMES[word]] if word in _OTHER_NAMES else difflib.get_close_matches(word, LOSS_NAMES, n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"{field} names {name!r}, expected of {', '.join(LOSS_NAMES)}{meant}")
        _check_number(f"{field}.{name}", weight)
    if not any(losses.values()):
        raise ValueError(f"{field} is {dict(losses)}: there would be no loss; give one a weight, as in {_EXAMPLE}")


def check_loss_fields(config: Any) -> None:
    """Check a config's fields of the loss.

    Raises:
        ValueError: if a value can't be; the message names the field.
    """
    check_weights("losses", config.losses)
    if config.auxiliary_losses is not None:
        check_weights("auxiliary_losses", config.auxiliary_losses)
    if config.class_weights is not None:
        if len(config.class_weights) != config.num_labels:
            raise ValueError(f"class_weights has {len(config.class_weights)} entries for {config.num_labels} classes")
        for weight in config.class_weights:
            _check_number("class_weights", weight)
        if not any(config.class_weights):
            raise ValueError("class_weights are all 0: nothing would be learned")
    for name in ("auxiliary_loss_weight", "focal_gamma", "bootstrap_threshold"):
        _check_number(name, getattr(config, name))
    for name in ("ohem_min_kept", "bootstrap_min_kept"):
        value = getattr(config, name)
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if config.ohem_threshold is not None and not 0 < config.ohem_threshold <= 1:
        raise ValueError(f"ohem_threshold must be above 0, and at most 1, got {config.ohem_threshold}")
    if not 0 <= config.label_smoothing < 1:
        raise ValueError(f"label_smoothing must be 0 or more, and below 1, got {config.label_smoothing}")
    if config.focal_alpha is not None and not 0 <= config.focal_alpha <= 1:
        raise ValueError(f"focal_alpha must be from 0 to 1, got {config.focal_alpha}")


def unused_parameter(given: Mapping[str, Any]) -> str | None:
    """What is wrong if a config's given fields set what only losses without a weight read; `None` if nothing.

    Args:
        given: names and values. `None`, and a label smoothing of 0, set nothing.
    """
    weights = [given.get("losses") or {"cross_entropy": 1.0}, given.get("auxiliary_losses") or {}]
    used = {name for losses in weights for name, weight in losses.items() if weight}
    for name, losses in PARAMETERS.items():
        value = given.get(name)
        if value is None or (name == "label_smoothing" and value == 0) or used & set(losses):
            continue
        given_weights = " and ".join(sorted(used))
        return (
            f"{name} is given, but {' and '.join(losses)} alone can read it, and losses has {given_weights}: leave "
            f"{name} out (null), or add {losses[0]} to losses"
        )
    return None


def _check_number(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{name} is {value!r}, expected a number of 0 or more")
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} must be 0 or more, and finite, got {value}")
