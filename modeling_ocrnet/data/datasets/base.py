"""The form in which a published dataset is described: all that the project knows of it, in one file each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..labels import LabelSet
from ..pairs import Pairs, check_split


@dataclass(frozen=True)
class TreeEntry:
    """A folder or file that a dataset's root must hold.

    Args:
        paths: where it may be, below the root; the first is the usual place.
        what: what it holds.
        splits: which splits need it; none: all.
    """

    paths: tuple[str, ...]
    what: str
    splits: tuple[str, ...] = ()


def folders_of_pairs(
    images: dict[str, tuple[str, ...]], masks: dict[str, tuple[str, ...]], suffix: str = "*.jpg"
) -> tuple[TreeEntry, ...]:
    """The tree of a dataset whose splits have a folder of images and one of masks.

    Args:
        images, masks: where each split's folder may be.
        suffix: of the images; masks are PNGs.
    """
    return tuple(
        entry
        for split in images
        for entry in (
            TreeEntry(images[split], suffix, (split,)),
            TreeEntry(masks[split], "*.png of the same names", (split,)),
        )
    )


@dataclass(frozen=True)
class CardFacts:
    """What the cards of models and of exports say of their data.

    Args:
        text: a sentence or two on what it is.
        terms: what its terms mean for the weights.
        licence: the Hub's identifier of the licence for weights trained on it, `"other"` if it has none, `None` if
            nobody stated one.
        licence_name: for `"other"`, a name.
        licence_link: for `"other"`, where it can be read.
        redistributable: whether the data may be passed on to everybody.
        free_to_show: whether its images may be shown to anybody, without conditions: then a card gets some.
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
        title: its name, for people.
        labels: its classes, and the ids in its masks.
        default_root: the folder that is read if none is given.
        images: the published number of images of each split. Its keys are the splits.
        find_pairs: finds the images and masks of a split below a root.
        downloads: what to fetch: addresses, and how large each is.
        size: how large all is, for a list.
        licence: its terms in short.
        tree: what its root must hold.
        bases: folders below the root that may hold the tree instead.
        hint: what else has to be done.
        optional: splits that are looked for only if asked for.
        card: what cards say of it. Without, a card claims no licence, and the data isn't pushed publicly.
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
