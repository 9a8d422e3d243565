"""Proposes a classes.json from the content of masks: what they hold, and names if the colours are a known dataset's."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from .decoding import DataError, check_mask, stored_pixels
from .image_headers import MAX_PIXELS, open_image
from .known_palettes import KnownPalette, recognise, remark
from .labels import IGNORE, Color, distinct_color
from .train_ids import pack_colors, unpack_color

PROPOSED = 256  # more ids or colours than this can't be classes


@dataclass
class _Content:
    """What a sample of masks holds.

    `pixels` and `masks` have the number of pixels of each id or packed colour, and of masks that hold it. `colors` are
    those of the palette's ids in the files; `same` is false if files disagree about them, or some have none.
    """

    kind: str = ""
    count: int = 0
    pixels: dict[int, int] = field(default_factory=dict)
    masks: dict[int, int] = field(default_factory=dict)
    colors: dict[int, Color] = field(default_factory=dict)
    same: bool = True

    @property
    def found(self) -> list[int]:
        return sorted(self.pixels)

    def color(self, value: int) -> Color | None:
        return unpack_color(value) if self.kind == "color" else self.colors.get(value)


def suggest_classes_json(masks: Iterable[dict], max_pixels: int = MAX_PIXELS) -> str:
    """A text that lists the values in the masks with their shares, and a classes.json for them, ready to be saved.

    If the colours are those of a dataset that [`recognise`] knows, the classes have its names, and what it ignores is
    marked. Colours count in RGB masks and in palettes; ids without a palette may mean anything.

    Args:
        masks: a sample of masks, as entries of an `Image(decode=False)` column.
        max_pixels: the most pixels that each may have.

    Raises:
        DataError: if they don't look like masks.
    """
    content = _read(masks, max_pixels)
    if len(content.pixels) > PROPOSED:
        raise DataError(
            f"{content.count} masks hold {len(content.pixels)} {content.kind}s, too many for classes: are these "
            "instance ids, photographs, or smoothed masks?"
        )
    colors: dict[Color, int] = {}
    for value, number in content.pixels.items():
        if content.same and (color := content.color(value)) is not None:
            colors[color] = colors.get(color, 0) + number
    palette = recognise(colors) if content.same else None
    lines = [_line(value, content, palette) for value in content.found]
    if palette is not None:
        lines.append(f"  {remark(palette, colors)}")
    ignore_ids = [IGNORE] if content.kind == "id" and IGNORE in content.pixels and content.found != [0, IGNORE] else []
    classes = _classes_by_color(content, palette) if content.kind == "color" else _classes_by_id(content, palette)
    rows = ",\n    ".join(json.dumps(x) for x in classes if x.get("id") not in ignore_ids)
    fields = [f'"classes": [\n    {rows}\n  ]', f'"ignore_ids": {ignore_ids}', '"reduce_zero_label": false']
    if palette is not None and content.kind == "color":
        # colours that the sample happens not to hold, but other masks may
        rest = [list(x) for x, known in palette.colors.items() if known.ignored and x not in colors]
        fields += [f'"ignore_colors": {rest}'] if rest else []
    return "\n".join(lines) + "\n\n{\n  " + ",\n  ".join(fields) + "\n}"


def _read(masks: Iterable[dict], max_pixels: int) -> _Content:
    content = _Content()
    kinds = set()
    for source in masks:
        content.count += 1
        path = source["path"]
        mask = open_image(source, max_pixels)
        check_mask(mask, path, by_color=True)
        stored = stored_pixels(mask, path)
        kinds.add("color" if stored.ndim == 3 else "id")
        values = pack_colors(stored) if stored.ndim == 3 else stored.astype(np.int64)
        palette = _palette(mask) if stored.ndim == 2 else []
        for value, number in zip(*(x.tolist() for x in np.unique(values, return_counts=True)), strict=True):
            content.pixels[value] = content.pixels.get(value, 0) + number
            content.masks[value] = content.masks.get(value, 0) + 1
            if stored.ndim == 2:
                color = palette[value] if value < len(palette) else None
                content.same &= color is not None and content.colors.setdefault(value, color) == color
    if len(kinds) != 1:
        raise DataError("some masks hold ids, others colours: use one kind for all" if kinds else "there are no masks")
    (content.kind,) = kinds
    return content


def _palette(mask: Image.Image) -> list[Color]:
    flat = mask.getpalette() if mask.mode == "P" else None
    return [] if flat is None else list(zip(flat[::3], flat[1::3], flat[2::3], strict=True))


def _line(value: int, content: _Content, palette: KnownPalette | None) -> str:
    """The share of an id or a colour, and the name of a known one."""
    shown = list(unpack_color(value)) if content.kind == "color" else value
    share = 100 * content.pixels[value] / sum(content.pixels.values())
    color = content.color(value)
    known = palette.colors.get(color) if palette is not None and color is not None else None
    name = "" if known is None else f": {known.original}"
    held = f"{share:.2f} % of the pixels, in {content.masks[value]} of {content.count} masks"
    return f"  {content.kind} {shown}: {held}{name}"


def _classes_by_color(content: _Content, palette: KnownPalette | None) -> list[dict[str, Any]]:
    """One class for each colour; of a known palette, one for each class found, with all of its colours."""
    found = {unpack_color(value): i for i, value in enumerate(content.found)}
    known = palette.colors if palette is not None else {}
    joined = any(color in found and not x.main for color, x in known.items())
    groups: dict[tuple[str, bool], list[Color]] = {}
    for color, x in known.items():
        if x.main or joined:
            groups.setdefault((x.name, x.ignored), []).append(color)
    named, ignored = [], []
    for (name, is_ignored), colors in groups.items():
        if found.keys() & set(colors):
            shown = {"color": list(colors[0])} if len(colors) == 1 else {"colors": [list(x) for x in colors]}
            if is_ignored:
                ignored.append({"name": name, **shown, "ignore": True})
            else:
                named.append({"name": name, **shown})
    others = [{"name": f"class {i}", "color": list(color)} for color, i in found.items() if color not in known]
    return named + others + ignored  # ignored ones last: they don't take the ids of the others


def _classes_by_id(content: _Content, palette: KnownPalette | None) -> list[dict[str, Any]]:
    """One class for each id, with the colour of the palette. Ids of one colour can't be told apart by it."""
    classes = []
    colors = [content.colors.get(x) for x in content.found]
    for i, (value, color) in enumerate(zip(content.found, colors, strict=True)):
        known = palette.colors.get(color) if palette is not None and color and colors.count(color) == 1 else None
        name = f"class {value}" if known is None else known.name if known.main else known.original
        entry = {"name": name, "id": value, "color": list(color or distinct_color(i))}
        classes.append({**entry, "ignore": True} if known is not None and known.ignored else entry)
    return classes
