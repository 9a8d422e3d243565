"""What a card says about the training data: its description and its terms."""

from __future__ import annotations

from ..data.datasets import DATASETS, CardFacts, published

NO_TERMS = "This repository doesn't record a licence for the weights or their training data."
_OWN = CardFacts(
    text="the author's own images and masks.",
    terms=NO_TERMS,
    licence=None,
)


def facts_of(dataset: str | None) -> CardFacts | None:
    """The description and terms of a dataset; `None` if they aren't known: a card must not invent a licence."""
    if dataset == "folder":
        return _OWN
    return published(dataset).card if dataset in DATASETS else None


def title_of(dataset: str) -> str:
    """A dataset's name in texts."""
    if dataset == "folder":
        return "custom images"
    return published(dataset).title if dataset in DATASETS else dataset
