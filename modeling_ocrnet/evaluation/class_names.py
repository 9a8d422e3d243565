"""A model's classes and a dataset's, matched by their names."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from ..common.errors import UserError
from ..data.unicode_names import nfc

logger = logging.getLogger("modeling_ocrnet.evaluation")
SHOWN = 5  # names that a message lists


def match_classes(ours: Sequence[str], theirs: Sequence[str], model: str, dataset: str) -> np.ndarray | None:
    """Where each class of a model stands among a dataset's: indices mean nothing by themselves.

    Args:
        ours: the model's class names, by index.
        theirs: the dataset's.
        model, dataset: what they are called in messages.

    Returns:
        For the same names in another order (upper and lower case are alike), the dataset's index of each class of the
        model; `None` where they stand alike. Where other names stand in the same places, a warning says so.

    Raises:
        UserError: for another number of classes; and where a name stands in another place and the names aren't the
            same, so that nothing tells what the others mean.
    """
    if len(ours) != len(theirs):
        raise UserError(f"{model} knows {len(ours)} classes, {dataset} has {len(theirs)}: choose --name")
    known, wanted = ([_plain(x) for x in names] for names in (ours, theirs))
    if known == wanted:
        return None
    places = {name: index for index, name in enumerate(wanted)}
    if len(places) == len(wanted) and places.keys() == set(known):
        logger.info("%s and %s: the same classes in another order, matched by their names", model, dataset)
        return np.array([places[name] for name in known])
    for index, name in enumerate(known):
        if name in places and wanted[index] != name:
            raise UserError(
                f"{model} and {dataset}: {ours[index]!r} is class {index} of the one, {places[name]} of the other, and "
                f"not all names agree ({_listed(ours)}; {_listed(theirs)}): give both the same names, in the model's "
                "config.json (id2label) or in the dataset's classes"
            )
    others = [f"{a!r} for {b!r}" for a, b, x, y in zip(ours, theirs, known, wanted, strict=True) if x != y]
    logger.warning(
        "%s and %s: %d of %d classes have other names, %s: taken to mean the same",
        model,
        dataset,
        len(others),
        len(ours),
        _listed(others),
    )
    return None


def _plain(name: str) -> str:
    """A name without what people write differently: case, spaces, hyphens."""
    text = nfc(name).casefold()
    return "".join(x for x in text if x.isalnum()) or text


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
