"""From an entry of a recipe's list to an augmentation; what can't be meant is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields
from typing import Any

from ...common.errors import UserError
from ...common.names import did_you_mean
from .augmentation import Augmentation

LIST = "data.augmentations"
# what others call them
_OTHER_NAMES = {
    "gray": "grey",
    "grayscale": "grey",
    "greyscale": "grey",
    "rotation": "rotate",
    "gaussian_blur": "blur",
    "gaussian_noise": "noise",
    "compression": "jpeg",
    "erase": "cutout",
    "random_erasing": "cutout",
    "copy_paste": "paste",
}


def check_entries(entries: Any) -> None:
    """Check that there is a list of entries with names, none of them twice.

    Raises:
        UserError: if not.
    """
    example = "[{name: rotate, degrees: 10}, {name: grey}]"
    if isinstance(entries, (str, bytes)) or not isinstance(entries, Sequence):
        raise UserError(f"{LIST} is {entries!r}, expected a list such as {example}")
    for i, entry in enumerate(entries):
        if not isinstance(entry, Mapping):
            raise UserError(f"{LIST} has {entry!r}, expected entries with names, as in {example}")
        if "name" not in entry:
            raise UserError(f"{LIST} has {dict(entry)}, an entry without a name: give it one, as in {example}")
        if entry in entries[:i]:
            raise UserError(f"{LIST} has {dict(entry)} twice: take one out, or let them differ")


def read_entry(entry: Mapping[str, Any], known: Mapping[str, type[Augmentation]]) -> Augmentation:
    """The augmentation of one entry.

    Args:
        entry: its name and its fields.
        known: the augmentations by name.

    Raises:
        UserError: for an unknown name or field, one that is missing, or a value that it doesn't take.
    """
    values = dict(entry)
    name = values.pop("name")
    if not isinstance(name, str) or name not in known:
        raise UserError(f"{LIST} has the name {name!r}, which is none: {_meant(name, known)}")
    taken = {x.name: x for x in fields(known[name]) if "accepts" in x.metadata}
    for field in values:
        if field not in taken:
            raise UserError(f"{LIST}: {name} has no {field}; it takes {', '.join(taken)}")
    for field, about in taken.items():
        if field in values:
            _check(name, about, values[field])
        elif about.default is MISSING:
            raise UserError(f"{LIST}: {name} needs {field}, {about.metadata['expected']}")
    fitting: dict[str, Any] = {field: tuple(x) if isinstance(x, list) else x for field, x in values.items()}
    return known[name](**fitting)


def _check(name: str, field: Field, value: Any) -> None:
    if not field.metadata["accepts"](value):
        raise UserError(f"{LIST}: {field.name} of {name} is {value!r}, expected {field.metadata['expected']}")


def _meant(name: Any, known: Mapping[str, Any]) -> str:
    word = name.lower().replace("-", "_") if isinstance(name, str) else ""
    return did_you_mean(_OTHER_NAMES.get(word, word), list(known))
