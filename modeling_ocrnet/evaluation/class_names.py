"""Match a model's classes with a dataset's by their names."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from ..common.errors import UserError
from ..data.unicode_names import nfc

logger = logging.getLogger("modeling_ocrnet.evaluation")
SHOWN = 5  # names that a message lists


def match_classes(ours: Sequence[str], theirs: Sequence[str], model: str, dataset: str) -> np.ndarray | None:
    """Find the dataset's index of each of a model's classes, because equal indices don't imply equal classes.

    Args:
        ours: the model's class names, by index.
        theirs: the dataset's class names, by index.
        model, dataset: their names in messages.

    Returns:
        `None` if the order is the same. If the same names (ignoring case) are in another order, the dataset's index of
        each of the model's classes. If some indices have different names on the two sides, `None` with a warning.

    Raises:
        UserError: if the number of classes differs; or if a name has different indices on the two sides and the sets
            of names differ, because the other classes then can't be matched.
    """
    if len(ours) != len(theirs):
        raise UserError(f"{model} has {len(ours)} classes, {dataset} has {len(theirs)}: choose --data.name")
    known, wanted = ([_plain(x) for x in names] for names in (ours, theirs))
    if known == wanted:
        return None
    places = {name: index for index, name in enumerate(wanted)}
    if len(places) == len(wanted) and places.keys() == set(known):
        logger.info("%s and %s have the same classes in another order: matched by their names", model, dataset)
        return np.array([places[name] for name in known])
    for index, name in enumerate(known):
        if name in places and wanted[index] != name:
            raise UserError(
                f"{model} and {dataset}: {ours[index]!r} is class {index} of the first, {places[name]} of the second, "
                f"and other names differ ({_listed(ours)}; {_listed(theirs)}): give both the same names, in the "
                "model's config.json (id2label) or in the dataset's classes"
            )
    others = [f"{a!r} for {b!r}" for a, b, x, y in zip(ours, theirs, known, wanted, strict=True) if x != y]
    logger.warning(
        "%s and %s: %d of %d classes have different names (%s); they are assumed to mean the same",
        model,
        dataset,
        len(others),
        len(ours),
        _listed(others),
    )
    return None


def _plain(name: str) -> str:
    """A name without case, spaces and punctuation, which often differ."""
    text = nfc(name).casefold()
    return "".join(x for x in text if x.isalnum()) or text


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
