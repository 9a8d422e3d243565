"""Fields of the config that are given beside a checkpoint, because its weights don't show them.

Whatever is wrong with one is said on one line: where it was given, its name and value, and what was expected.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
from collections.abc import Callable, Iterator
from typing import Any, Literal, Union, get_args, get_origin

from huggingface_hub.errors import StrictDataclassError, StrictDataclassFieldValidationError
from transformers import TimmBackboneConfig
from transformers.activations import ACT2FN

from ..common.errors import UserError, reason
from ..configuration_hrnet import HRNetConfig
from ..configuration_ocrnet import OCRNetConfig
from ..loss_fields_ocrnet import OLD_WEIGHTS, fold_old_weights

CONFIGS = {"ocrnet": OCRNetConfig, "hrnet": HRNetConfig, "timm_backbone": TimmBackboneConfig}
# what a network raises that can't be built, or not from these weights
UNFIT = (ValueError, StrictDataclassError, RuntimeError, TypeError, LookupError, ImportError)
_INNER = "backbone_config"


class GivenFields:
    """Fields with the places where they were given.

    Args:
        values: by name; `backbone_config` may be a dict of some of its fields.
        places: what messages call the place of each field; `--model.config` for those that aren't named.

    Raises:
        UserError: if an old name of a field contradicts the new one.
    """

    def __init__(self, values: dict[str, Any] | None = None, places: dict[str, str] | None = None):
        self.values, self._places = values or {}, dict(places or {})
        if old := sorted(OLD_WEIGHTS.keys() & self._places.keys()):
            self._places["losses"] = self._places[old[0]]
        try:
            self.values = fold_old_weights(self.values)
        except ValueError as error:
            raise self.error("losses", str(error)) from error

    def over(self, fields: dict[str, Any]) -> dict[str, Any]:
        """A network's fields with those that are given in their place.

        Raises:
            UserError: for a field that the config doesn't have, or that the weights determine.
        """
        return self._over(fields, self.values, "")

    def _over(self, fields: dict[str, Any], values: dict[str, Any], prefix: str) -> dict[str, Any]:
        kind = CONFIGS[fields["model_type"]]
        known = sorted({x.name for x in dataclasses.fields(kind)} | set(fields))
        for key, value in values.items():
            name = f"{prefix}{key}"
            if key not in known:
                nearest = difflib.get_close_matches(str(key), known, n=1)
                advice = f"did you mean {nearest[0]}?" if nearest else "see its docstring"
                raise self.error(name, f"{name!r} isn't a field of {kind.__name__}; {advice}")
            if key == "model_type" and value != fields[key]:
                raise self.error(name, f"{name} is {value!r}, but the weights are of {fields[key]!r}: leave it out")
            if key == "hidden_act" and isinstance(value, str) and value not in ACT2FN:
                raise self.error(name, f"{name} is {value!r}, expected one of {', '.join(ACT2FN)}")
            if key == "num_labels" and value != fields[key]:
                raise self.error(name, f"{name} is {value!r}, but the weights have {fields[key]} classes: leave it out")
            if key in ("dtype", "torch_dtype"):
                raise self.error(name, f"{name} is {value!r}, but the weights keep their own: leave it out")
            if key == "id2label" and not isinstance(value, dict):
                raise self.error(name, f"{name} is {value!r}, expected names by index, as {{0: road, 1: sky}}")
            classes = fields.get("num_labels")  # a backbone has none
            if key == "id2label" and classes not in (None, len(value)):
                raise self.error(name, f"{name} names {len(value)} classes, but the weights have {classes}")
            if key == _INNER and not isinstance(value, dict):
                raise self.error(name, f"{name} is {value!r}, expected some of its fields, each with its value")
        merged = fields | values
        if _INNER in values:
            merged[_INNER] = self._over(fields[_INNER], values[_INNER], f"{_INNER}.")
        return merged

    def error(self, name: str, text: str) -> UserError:
        """The error for a field, which says where it was given."""
        return UserError(f"{self._places.get(name.partition('.')[0], '--model.config')}: {text}")

    def blame(
        self, error: Exception, derived: dict[str, Any], attempt: Callable[[dict[str, Any]], Exception | None]
    ) -> UserError | None:
        """The error for the field because of which no network could be made of a checkpoint.

        Args:
            error: what making it raised.
            derived: the fields that the weights show.
            attempt: makes the network with some of the fields, and returns what that raises.

        Returns:
            `None` if none of the fields is at fault.
        """
        without = attempt({})
        if without is not None and reason(without) == reason(error):
            return None
        if without is None:  # so one of the fields may be wrong by itself
            for name, value, part in self._one_by_one():
                if (found := attempt(part)) is not None:
                    return self.error(name, _complaint(name, value, found, derived))
        names = [name for name, _, _ in self._one_by_one()]
        return self.error(names[0], f"{', '.join(names)}: {reason(error)}")

    def _one_by_one(self) -> Iterator[tuple[str, Any, dict[str, Any]]]:
        """Each field alone: its name, its value, and the dict of it."""
        for key, value in self.values.items():
            if key == _INNER:
                yield from ((f"{key}.{x}", inner, {key: {x: inner}}) for x, inner in value.items())
            else:
                yield key, value, {key: value}


def _complaint(name: str, value: Any, error: Exception, derived: dict[str, Any]) -> str:
    """What is wrong with a value, in words."""
    *outer, key = name.split(".")
    fields = derived[_INNER] if outer else derived
    if isinstance(error, StrictDataclassFieldValidationError):
        hint = {x.name: x.type for x in dataclasses.fields(CONFIGS[fields["model_type"]])}.get(key)
        if hint is not None:
            return f"{name} is {value!r}, expected {_in_words(hint)}"
    said = reason(error.__cause__ if isinstance(error, StrictDataclassError) and error.__cause__ else error)
    if key in said and not isinstance(error, UserError):
        return said
    if key in fields and fields[key] != value:
        return f"{name} is {value!r}, but the weights fit {fields[key]!r}: leave it out"
    return f"{name} is {value!r}, with which no network can be made of the weights ({said})"


def _in_words(hint: Any) -> str:
    """A field's type: `a number or null`."""
    origin, choices = get_origin(hint), get_args(hint)
    if origin is Literal:
        return f"one of {', '.join(map(str, choices))}"
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_in_words(x) for x in choices if not (x is int and float in choices)))
    if origin in (list, tuple):
        inner = _in_words(choices[0])
        return f"a list of {inner.replace('a list of', 'lists of', 1) if ' of ' in inner else inner[2:] + 's'}"
    known = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", types.NoneType: "null"}
    return known.get(hint, "fields and their values" if origin is dict else getattr(hint, "__name__", str(hint)))
