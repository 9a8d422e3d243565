"""What a card says of the training data: what it is, and the terms that come with it."""

from __future__ import annotations

from ..data.datasets import DATASETS, CardFacts, published

NO_TERMS = "This repository doesn't record a licence of the weights or of their training data."
_OWN = CardFacts(
    text="images and masks of the maker's own.",
    terms=NO_TERMS,
    licence=None,
)


def facts_of(dataset: str | None) -> CardFacts | None:
    """What is known of a dataset's terms; `None` if nothing is: a card claims no licence that nobody stated."""
    if dataset == "folder":
        return _OWN
    return published(dataset).card if dataset in DATASETS else None


def title_of(dataset: str) -> str:
    """A dataset's name for people."""
    if dataset == "folder":
        return "own images"
    return published(dataset).title if dataset in DATASETS else dataset
