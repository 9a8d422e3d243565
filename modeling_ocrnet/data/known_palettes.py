"""Recognises the colours of published datasets in masks, so that a proposed classes.json can name them.

Only palettes that belong to one dataset are known: those of Cityscapes, of CamVid (the 32 original colours, which its
11 classes join) and of PASCAL VOC. The other datasets' masks hold ids; their colours here are PASCAL VOC's colour map,
which labelling tools give to any classes. So that map proves nothing without VOC's own colour of boundaries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from .datasets import published
from .labels import Color, distinct_color

PLAIN = ((0, 0, 0), (255, 255, 255))  # many masks have them, so they prove nothing
LEAST = 3  # other colours of the palette that must be found
RARE = 0.001  # of the pixels: colours below this share, as smoothed edges leave them, aren't counted
STRAY_PIXELS, STRAY_COLORS = 0.05, 0.25  # the most pixels in other colours; the most other colours for each known one
BOUNDARY = (224, 224, 192)  # in PASCAL VOC's masks
GENERAL_MAP = {distinct_color(i) for i in range(21)}


@dataclass(frozen=True)
class KnownColor:
    """What a colour means in a dataset.

    Args:
        name: its class.
        original: its own name, if the class joins several colours; else the same.
        main: whether it is the colour of the class in predictions.
        ignored: whether the dataset ignores it.
    """

    name: str
    original: str
    main: bool = True
    ignored: bool = False


@dataclass(frozen=True)
class KnownPalette:
    """The colours of a dataset, in the order of its classes.

    Args:
        title: the dataset's name in texts.
        colors: what each colour means.
        needed: a colour that must be found before the others prove anything.
    """

    title: str
    colors: Mapping[Color, KnownColor]
    needed: Color | None = None


@cache
def known_palettes() -> tuple[KnownPalette, ...]:
    """The palettes that belong to one dataset."""
    from .datasets.camvid import ORIGINAL

    cityscapes, voc = published("cityscapes").labels, published("pascal_voc").labels
    ignored = {x.name for x in published("camvid").labels.labels} - {*published("camvid").labels.names}
    camvid = {
        color: KnownColor(name, original, main=i == 0, ignored=name in ignored)
        for name, group in ORIGINAL.items()
        for i, (original, color) in enumerate(group.items())
    }
    colors = {x.color: KnownColor(x.name, x.name) for x in cityscapes.trained}
    for x in cityscapes.labels:  # several labels share a colour: a trained one goes first, then the first of the table
        colors.setdefault(x.color, KnownColor(x.name, x.name, ignored=True))
    of_voc = {x.color: KnownColor(x.name, x.name) for x in voc.trained}
    of_voc[BOUNDARY] = KnownColor("boundary", "boundary", ignored=True)
    return (
        KnownPalette("Cityscapes", colors),
        KnownPalette("CamVid", camvid),
        KnownPalette("PASCAL VOC", of_voc, needed=BOUNDARY),
    )


def recognise(found: Mapping[Color, int]) -> KnownPalette | None:
    """The palette that the colours of masks belong to.

    The rule, for which black and white don't count: at least three colours are the palette's, of at least two trained
    classes; at most 5 % of the pixels are in other colours; and of the colours that take 0.1 % of the pixels or more,
    there is at most one other for four of the palette. Nothing is recognised if two palettes leave equally few colours
    over, or if the colours are all among the first 21 of PASCAL VOC's colour map, without VOC's colour of boundaries.

    Args:
        found: the number of pixels of each colour.
    """
    telling = {color: count for color, count in found.items() if color not in PLAIN}
    if telling.keys() <= GENERAL_MAP:
        return None
    fitting = [(len(telling.keys() - x.colors.keys()), x) for x in known_palettes() if _fits(telling, x)]
    least = min((others for others, _ in fitting), default=0)
    best = [palette for others, palette in fitting if others == least]
    return best[0] if len(best) == 1 else None


def _fits(telling: Mapping[Color, int], palette: KnownPalette) -> bool:
    total = sum(telling.values())
    known = telling.keys() & palette.colors.keys()
    others = telling.keys() - known
    trained = {palette.colors[x].name for x in known if not palette.colors[x].ignored}
    frequent = sum(telling[x] >= RARE * total for x in others)
    return (
        len(known) >= LEAST
        and len(trained) >= 2
        and (palette.needed is None or palette.needed in telling)
        and sum(telling[x] for x in others) <= STRAY_PIXELS * total
        and frequent <= STRAY_COLORS * len(known)
    )


def remark(palette: KnownPalette, found: Mapping[Color, int]) -> str:
    """A line on a recognised palette, with the share of the pixels in other colours."""
    others = [x for x in found if x not in palette.colors]
    share = 100 * sum(found[x] for x in others) / sum(found.values())
    but = f", except {len(others)} on {share:.2f} % of the pixels" if others else ""
    joined = any(not palette.colors[x].main for x in found if x in palette.colors)
    joins = ", and its original colours are joined to its usual classes" if joined else ""
    return f"the colours are those of {palette.title}{but}: names are filled in{joins}"
