"""The classes that describe a published dataset. Everything about a dataset is in one file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..labels import LabelSet
from ..pairs import Pairs, check_split


@dataclass(frozen=True)
class TreeEntry:
    """A folder or file that a dataset's root must hold.

    Args:
        paths: where it may be, below the root; the first is the usual place.
        what: a description of its content.
        splits: the splits that need it; empty means all.
    """

    paths: tuple[str, ...]
    what: str
    splits: tuple[str, ...] = ()


def folders_of_pairs(
    images: Mapping[str, tuple[str, ...]], masks: Mapping[str, tuple[str, ...]], suffix: str = "*.jpg"
) -> tuple[TreeEntry, ...]:
    """The tree of a dataset in which each split has a folder of images and one of masks.

    Args:
        images, masks: where each split's folder may be.
        suffix: of the images; masks are PNG files.
    """
    return tuple(
        entry
        for split in images
        for entry in (
            TreeEntry(images[split], suffix, (split,)),
            TreeEntry(masks[split], "*.png with the same names", (split,)),
        )
    )


@dataclass(frozen=True)
class CardFacts:
    """What the cards of models and of exported datasets say about the data.

    Args:
        text: one or two sentences that describe it.
        terms: what its terms of use mean for the weights.
        licence: the Hub's identifier of the licence for weights trained on it; `"other"` if the Hub has none for it,
            `None` if no licence is stated.
        licence_name: for `"other"`: its name.
        licence_link: for `"other"`: its address.
        redistributable: whether the data may be redistributed publicly.
        free_to_show: whether its images may be published without conditions. If so, a card shows some.
    """

    text: str
    terms: str
    licence: str | None
    licence_name: str | None = None
    licence_link: str | None = None
    redistributable: bool = False
    free_to_show: bool = False


@dataclass(frozen=True)
class PublishedDataset:
    """A published dataset: its classes, its files, where they come from, and on what terms.

    Args:
        title: its name in texts.
        labels: its classes, and the ids in its masks.
        default_root: the folder that is read if none is given.
        images: the published number of images of each split. The keys are the splits.
        find_pairs: finds the images and masks of a split below a root.
        downloads: what to download: addresses, and the size of each file.
        size: the total size of the downloads, for the list of datasets.
        licence: its terms in brief.
        tree: what its root must hold.
        bases: folders below the root that may hold the tree instead.
        hint: further steps that are needed.
        optional: splits that are checked only on request.
        card: what cards say about it. If `None`, a card claims no licence, and the data isn't pushed publicly.
    """

    title: str
    labels: LabelSet
    default_root: str
    images: dict[str, int]
    find_pairs: Callable[[Path, str], Pairs]
    downloads: tuple[str, ...]
    size: str
    licence: str
    tree: tuple[TreeEntry, ...]
    bases: tuple[str, ...] = ("",)
    hint: str = ""
    optional: tuple[str, ...] = ()
    card: CardFacts | None = None

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(self.images)

    def find(self, root: Path, split: str) -> Pairs:
        """The images of a split and their masks.

        Raises:
            ValueError: for a split that the dataset doesn't have.
            DataError: if the root isn't as expected.
        """
        check_split(split, self.splits)
        return self.find_pairs(root, split)
