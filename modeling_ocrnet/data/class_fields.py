"""What may be wrong with the fields of a classes.json: one line for each problem."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Set
from typing import Any

from .labels import Color
from .unicode_names import nfc

TOP_ID = 65535  # masks have up to 16 bits
FIELDS = ("classes", "flip_pairs", "ignore_colors", "ignore_ids", "reduce_zero_label")
CLASS_FIELDS = ("name", "id", "color", "colors", "ignore")


def is_ignored(entry: dict) -> bool:
    """Whether a class says that it isn't trained."""
    return entry.get("ignore") is True


def colors_of(entry: dict) -> list[Color]:
    """The colours of a class in masks; the first is that of its predictions."""
    given = entry["colors"] if "colors" in entry else [entry["color"]] if entry.get("color") is not None else []
    return [(red, green, blue) for red, green, blue in given]


def class_id(entry: dict, place: int, first: int, ids_given: bool) -> int:
    """The id of a class in masks: its own, or its place in the list; -1 if others have ids and it has a colour only."""
    return entry.get("id", -1 if ids_given else first + place)


def field_problems(classes: list[Any], content: dict, reduce_zero_label: Any, ignore_ids: Set[int]) -> list[str]:
    """The problems with the content of a classes.json.

    Args:
        classes: its classes, each an object with a name if it is right.
        content: all of its fields.
        reduce_zero_label: whether 0 is ignored, from the file or from the recipe.
        ignore_ids: ids that the recipe ignores.
    """
    problems = [f"unknown field {key!r}; expected {', '.join(FIELDS)}" for key in sorted(content.keys() - {*FIELDS})]
    problems += _of_classes(classes, reduce_zero_label)
    problems += _of_lists(classes, content, reduce_zero_label)
    if problems:  # what follows needs values of the right types
        return problems
    first = 1 if reduce_zero_label else 0
    ids_given = any("id" in x for x in classes)
    ids = [class_id(x, i, first, ids_given) for i, x in enumerate(classes)]
    ids_ignored = {*content.get("ignore_ids", ()), *ignore_ids}
    trained = [x for x, i in zip(classes, ids, strict=True) if not is_ignored(x) and i not in ids_ignored]
    ignored = [x for x in classes if is_ignored(x)]
    return [
        *_of_ids(classes, ignored, set(content.get("ignore_ids", ())), reduce_zero_label),
        *_of_colors(trained, ignored, content.get("ignore_colors", [])),
    ]


def _of_classes(classes: list[Any], reduce_zero_label: Any) -> Iterator[str]:
    """Names, and the types and ranges of the other fields."""
    for i, entry in enumerate(classes):
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or not entry["name"].strip():
            yield f"class {i}: {json.dumps(entry)} has no name"
            continue
        name = entry["name"]
        if unknown := entry.keys() - {*CLASS_FIELDS}:
            yield f"class {name!r}: unknown field {', '.join(sorted(unknown))}; expected {', '.join(CLASS_FIELDS)}"
        if "id" in entry and not _is_id(entry["id"]):
            yield f"class {name!r}: id {entry['id']!r}, expected 0 to {TOP_ID}"
        if not isinstance(entry.get("ignore", False), bool):
            yield f"class {name!r}: ignore is {entry['ignore']!r}, expected true or false"
        if entry.get("id") == 0 and reduce_zero_label and not is_ignored(entry):
            yield f"class {name!r}: id 0, which reduce_zero_label ignores: give the ids in the masks, from 1 on"
        color = entry.get("color")
        if color is not None and not _is_color(color):
            yield f"class {name!r}: color {color!r}, expected three numbers from 0 to 255"
        if "colors" in entry and "color" in entry:
            yield f"class {name!r}: has color and colors: give one of them"
        elif "colors" in entry and not (_are_colors(entry["colors"]) and entry["colors"]):
            yield f"class {name!r}: colors {entry['colors']!r}, expected a list of colours: [[128, 0, 0], [64, 0, 64]]"


def _of_lists(classes: list[Any], content: dict, reduce_zero_label: Any) -> Iterator[str]:
    """What must be different in each class, and the fields beside the classes."""
    entries = [x for x in classes if isinstance(x, dict)]
    for field in ("name", "id"):
        values = [json.dumps(x[field]) for x in entries if field in x]
        yield from (f"{field} {x} occurs twice" for x, count in sorted(Counter(values).items()) if count > 1)
    given = sum("id" in x for x in entries)
    if given and not all("id" in x or is_ignored(x) for x in entries):
        exception = "; an ignored class with a color needs none" if any(map(is_ignored, entries)) else ""
        yield f"{given} of {len(classes)} classes have an id: give an id to all of them, or to none{exception}"
    if not isinstance(reduce_zero_label, bool):
        yield f"reduce_zero_label is {reduce_zero_label!r}, expected true or false"
    ids = content.get("ignore_ids", [])
    if not isinstance(ids, list) or not all(map(_is_id, ids)):
        yield f"ignore_ids is {ids!r}, expected a list of ids from 0 to {TOP_ID}"
    colors = content.get("ignore_colors", [])
    if not _are_colors(colors):
        yield f"ignore_colors is {colors!r}, expected a list of colours, each three numbers from 0 to 255: [[0, 0, 0]]"
    names = [x.get("name") for x in entries]
    ignored = [x.get("name") for x in entries if is_ignored(x)]
    pairs = content.get("flip_pairs", [])
    for pair in pairs if isinstance(pairs, list) else [pairs]:
        if not isinstance(pair, list) or len(pair) != 2 or not all(nfc(str(x)) in names for x in pair):
            yield f"flip_pairs has {pair!r}, expected the names of two classes"
        else:
            yield from (f"flip_pairs has {x!r}, which is ignored: remove the pair" for x in pair if nfc(x) in ignored)


def _of_ids(classes: list[dict], ignored: list[dict], ignore_ids: Set[int], reduce_zero_label: bool) -> Iterator[str]:
    """Ignored classes whose pixels can't be found, and contradictions about who is ignored."""
    ids_given = any("id" in x for x in classes)
    for entry in ignored:
        if ids_given and "id" not in entry and not colors_of(entry):
            yield f"class {entry['name']!r}: ignored, but it has neither an id nor a color: give it one"
    for entry in classes:
        if entry.get("ignore") is False and entry.get("id") in ignore_ids:
            yield f"class {entry['name']!r}: ignore is false, but its id {entry['id']} is in ignore_ids: remove one"
    if reduce_zero_label and not ids_given and is_ignored(classes[0]):
        yield (
            f"class {classes[0]['name']!r}: ignored, and it would be 1 in the masks, because reduce_zero_label ignores "
            "0 already: leave reduce_zero_label out if this class is 0, or give each class its id"
        )


def _of_colors(trained: list[dict], ignored: list[dict], ignore_colors: list[list[int]]) -> Iterator[str]:
    """Colours without use, because masks in colour need one for each trained class; and colours of two meanings."""
    if bare := next((x["name"] for x in trained if not colors_of(x)), None):
        without = f"but class {bare!r} has no color, and masks in colour need one for each class"
        if ignore_colors:
            yield f"ignore_colors is given, {without}: give it one, or ignore_ids in place of ignore_colors"
        for entry in ignored:
            if "id" not in entry and any("id" in x for x in trained):
                yield f"class {entry['name']!r}: ignored by its color, {without}: give it one, or an id to this class"
        yield from (f"class {x['name']!r}: colors are given, {without}" for x in trained if "colors" in x)
    owner: dict[Color, dict] = {}
    for entry in trained:
        for color in colors_of(entry):
            other = owner.setdefault(color, entry)
            if other is not entry and ("colors" in entry or "colors" in other):
                yield f"color {list(color)} is that of class {other['name']!r} and of class {entry['name']!r}"
    for entry in ignored:
        for color in colors_of(entry):
            if color in owner:
                yield (
                    f"class {entry['name']!r}: ignored, but its color {list(color)} is also that of class "
                    f"{owner[color]['name']!r}: remove it from one of them"
                )
    for color in dict.fromkeys(colors_of({"colors": ignore_colors})):
        if color in owner:
            yield (
                f"ignore_colors has {list(color)}, the color of class {owner[color]['name']!r}: remove it there, or "
                'give the class "ignore": true'
            )


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= TOP_ID


def _is_color(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(_is_id(x) and x < 256 for x in value)


def _are_colors(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_color, value))
