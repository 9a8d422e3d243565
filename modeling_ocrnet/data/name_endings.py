"""Pairs images and masks whose names differ by an ending, or a beginning, that all images and all masks share."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass

SEPARATORS = "_-. "


@dataclass(frozen=True)
class Endings:
    """What was taken off the names of all images and of all masks; either may be empty.

    `at_end` is false if these are beginnings. `partners` has the mask's name of each image's name.
    """

    of_images: str
    of_masks: str
    at_end: bool
    partners: dict[str, str]

    def __str__(self) -> str:
        place = "at the end" if self.at_end else "at the start"
        sides = ((self.of_images, "images"), (self.of_masks, "masks"))
        return " and ".join(f"{text!r} {place} of the {side}' names" for text, side in sides if text)


def pair_by_endings(images: Collection[str], masks: Collection[str]) -> tuple[Endings | None, str]:
    """Pair names that are the same without an ending that all images share, and one that all masks share.

    An ending is cut at a separator (`_`, `-`, `.` or a space), and each of its words has a letter: `_0001` tells images
    apart. Two endings with words that differ in their digits only (`_cam1`, `_cam2`) don't belong together. All names
    must find a partner, and no other endings may pair them otherwise. Beginnings are treated alike. A single pair has
    no ending that others share, so one of its names must be the other with an ending.

    Args:
        images, masks: names without suffix, none of which is on both sides.

    Returns:
        the pairs, or `None`; and what was tried, for a message.
    """
    best: Endings | None = None
    tried: list[Endings] = [x for at_end in (True, False) for x in _candidates(images, masks, at_end)]
    fitting = [x for x in tried if len(x.partners) == len(images) == len(masks)]
    for candidate in fitting:
        if best is not None and candidate.partners != best.partners:
            return None, f"; without {best}, and also without {candidate}, they agree, but in other pairs"
        if best is None or _length(candidate) < _length(best):
            best = candidate
    if best is not None or not tried:
        return best, "" if tried else "; and all images, or all masks, share no ending that could be taken off"
    closest = max(tried, key=lambda x: (len(x.partners), -_length(x)))
    return None, f"; without {closest}, {len(closest.partners)} of {len(images)} images have a mask, of {len(masks)}"


def several_endings(images: Collection[str], masks: Collection[str]) -> list[str]:
    """The endings of masks of which several fit one image, most frequent first; nothing if that isn't so."""
    for ending in _shared(images, at_end=True):
        stems = {x[: len(x) - len(ending)] for x in images}
        # the longest part of a mask's name, before a separator, that is an image's name
        cuts = {mask: [i for i, char in enumerate(mask) if char in SEPARATORS and mask[:i] in stems] for mask in masks}
        if all(cuts.values()) and max(Counter(mask[: cut[-1]] for mask, cut in cuts.items()).values()) > 1:
            return [x for x, _ in Counter(mask[cut[-1] :] for mask, cut in sorted(cuts.items())).most_common()]
    return []


def _length(endings: Endings) -> int:
    return len(endings.of_images) + len(endings.of_masks)


def _candidates(images: Collection[str], masks: Collection[str], at_end: bool) -> Iterator[Endings]:
    for of_images in _shared(images, at_end):
        for of_masks in _shared(masks, at_end):
            alone = len(images) == 1 and of_images and of_masks
            if (of_images or of_masks) and not alone and not _numbered(of_images, of_masks):
                by_rest = {_without(x, of_masks, at_end): x for x in masks}
                rests = {x: _without(x, of_images, at_end) for x in images}
                partners = {x: by_rest[rest] for x, rest in rests.items() if rest in by_rest}
                yield Endings(of_images, of_masks, at_end, partners)


def _shared(names: Collection[str], at_end: bool) -> list[str]:
    """Nothing, and the endings that all names share, shortest first."""
    turn = slice(None, None, -1 if at_end else 1)
    common = os.path.commonprefix([x[turn] for x in names])
    shortest = min(map(len, names))
    cuts = (common[: i + 1][turn] for i, char in enumerate(common) if char in SEPARATORS and i + 1 < shortest)
    return ["", *(x for x in cuts if all(any(map(str.isalpha, word)) for word in _words(x)) and _words(x))]


def _words(ending: str) -> list[str]:
    return [x for x in re.split(f"[{re.escape(SEPARATORS)}]+", ending) if x]


def _numbered(one: str, two: str) -> bool:
    """Whether a word of one ending and a word of the other differ in their digits only."""
    pairs = ((x, y) for x in _words(one) for y in _words(two))
    return any(x != y and re.sub(r"\d+", "", x) == re.sub(r"\d+", "", y) for x, y in pairs)


def _without(name: str, ending: str, at_end: bool) -> str:
    return name.removesuffix(ending) if at_end else name.removeprefix(ending)
