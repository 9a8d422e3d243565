"""The classes that a recipe names."""

from __future__ import annotations

from collections.abc import Sequence

from ..common.errors import UserError
from ..common.names import did_you_mean
from .labels import LabelSet
from .unicode_names import nfc


def ids_of_classes(names: Sequence[str], labels: LabelSet, place: str) -> tuple[int, ...]:
    """The train ids of classes.

    Args:
        names: of the classes.
        labels: the data's classes.
        place: that names them, for messages: `sampler.classes`.

    Raises:
        UserError: for a name that the data don't have.
    """
    known = [nfc(name) for name in labels.names]
    for name in map(nfc, names):
        if name not in known:
            raise UserError(f"{place} names the class {name!r}, which the data don't have; {did_you_mean(name, known)}")
    return tuple(known.index(nfc(name)) for name in names)
