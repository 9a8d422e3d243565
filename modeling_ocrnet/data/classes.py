"""The classes of custom datasets: read from a classes.json, or proposed from the content of the masks."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..configuration_ocrnet import ignore_index
from .decoding import DataError, check_mask, stored_pixels
from .image_headers import MAX_PIXELS, open_image
from .labels import IGNORE, Label, LabelSet, distinct_color
from .text_files import read_text
from .train_ids import pack_colors, unpack_color
from .unicode_names import nfc

TOP_ID = 65535  # masks have up to 16 bits
LEAST, MOST = 2, 65535  # classes: with one there is nothing to predict; indices and `ignore` must fit into 16 bits
PROPOSED = 256  # more ids or colours than this can't be classes
_FIELDS = {"classes", "ignore_ids", "reduce_zero_label", "flip_pairs"}
_CLASS_FIELDS = {"name", "id", "color"}


def read_classes(file: Path, reduce_zero_label: bool = False, ignore_ids: Iterable[int] = ()) -> LabelSet:
    """Read the label set that a JSON file describes.

    Args:
        file: `{"classes": [{"name": "road", "id": 7, "color": [128, 64, 128]}, ...], "ignore_ids": [255],
            "reduce_zero_label": false, "flip_pairs": [["left arm", "right arm"]]}`, in which only the names are
            required; a list of names; or `{"0": "road", ...}`, as in `id2label.json` files on the Hub. Ids are those
            in the mask files; if none are given, classes are counted from 0, or from 1 with `reduce_zero_label`. (The
            ids of an `id2label` with `reduce_zero_label` are those after the reduction, as on the Hub.)
        reduce_zero_label: ignore 0 in the masks. The file can set it too.
        ignore_ids: further ids that aren't trained, whether a class has them or not. 255 isn't trained either, unless
            a class has it.

    Raises:
        DataError: lists the errors in the file.
    """
    content = _read_json(file)
    of_hub = isinstance(content, dict) and bool(content) and all(key.isdecimal() for key in content)
    if isinstance(content, list):
        content = {"classes": content}
    elif of_hub:
        shift = 1 if reduce_zero_label else 0
        content = {"classes": [{"name": content[k], "id": int(k) + shift} for k in sorted(content, key=int)]}
    if not isinstance(content, dict) or not isinstance(content.get("classes"), list) or not content["classes"]:
        raise DataError(f'{file}: expected {{"classes": [{{"name": ...}}, ...]}} or a list of names')
    reduce_zero_label = reduce_zero_label or content.get("reduce_zero_label", False)
    classes = [_in_one_form({"name": x} if isinstance(x, str) else x) for x in content["classes"]]
    problems = [f"unknown field {key!r}; expected {', '.join(sorted(_FIELDS))}" for key in content.keys() - _FIELDS]
    problems += _problems(classes, content, reduce_zero_label)
    if problems:
        raise DataError(f"{file}: " + "\n  ".join(problems))

    first = 1 if reduce_zero_label else 0
    counted_from_one = reduce_zero_label and not any("id" in x for x in classes)
    classes = [{"id": first + i, "color": None, **x} for i, x in enumerate(classes)]
    ids = {x["id"] for x in classes}
    named = {*content.get("ignore_ids", ()), *ignore_ids, *({0} if reduce_zero_label else ())}
    trained = [x for x in classes if x["id"] not in named]
    if not LEAST <= len(trained) <= MOST:
        raise DataError(
            f"{file}: {len(trained)} classes are trained, expected {LEAST} to {MOST}; if there is one thing to find, "
            "the background is the other class"
        )
    ignore = ignore_index(len(trained))
    ignored = named | ({IGNORE, ignore} - ids)
    index = {x["name"]: i for i, x in enumerate(trained)}
    labels = [
        Label(x["name"], x["id"], index.get(x["name"], ignore), tuple(x["color"] or distinct_color(first + i)))
        for i, x in enumerate(classes)
    ]
    codes = {x.color: x.train_id for x in labels}
    by_color = all(x["color"] for x in classes) and all(codes[x.color] == x.train_id for x in labels)
    pairs = ((nfc(a), nfc(b)) for a, b in content.get("flip_pairs", ()))
    return LabelSet(
        (*labels, *(Label(f"ignored {i}", i, ignore, (0, 0, 0)) for i in sorted(ignored - ids))),
        flip_pairs=tuple((index[a], index[b]) for a, b in pairs if {a, b} <= index.keys()),
        color_codes=tuple(codes.items()) if by_color else (),
        origin=str(file),
        ignore=ignore,
        # an id2label can't list ignored ids: on the Hub, 255 is ignored
        assumed_ignored=IGNORE if IGNORE in ignored - named and not of_hub else None,
        counted_from_one=counted_from_one,
    )


def _read_json(file: Path) -> Any:
    if not file.exists():
        raise DataError(f"{file}: there is no such file")
    text, _ = read_text(file)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file}: not readable as JSON ({error})") from error


def _in_one_form(entry: Any) -> Any:
    """A class with its name in NFC, so that it equals the same name in other files."""
    named = isinstance(entry, dict) and isinstance(entry.get("name"), str)
    return {**entry, "name": nfc(entry["name"])} if named else entry


def classes_of(labels: LabelSet) -> dict[str, Any]:
    """The content of a classes.json for masks that hold the train ids of `labels`."""
    classes = [{"name": x.name, "color": list(x.color)} for x in labels.trained]
    pairs = [[labels.names[i] for i in pair] for pair in labels.flip_pairs]
    return {"classes": classes, "flip_pairs": pairs, "ignore_ids": [labels.ignore]}


def _problems(classes: list[Any], content: dict, reduce_zero_label: Any) -> Iterator[str]:
    """The errors in the fields of a classes.json, one line for each."""
    names = [x.get("name") if isinstance(x, dict) else None for x in classes]
    for i, entry in enumerate(classes):
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or not entry["name"].strip():
            yield f"class {i}: {json.dumps(entry)} has no name"
            continue
        name = entry["name"]
        if unknown := entry.keys() - _CLASS_FIELDS:
            yield f"class {name!r}: unknown field {', '.join(sorted(unknown))}; expected name, id, color"
        if "id" in entry and not _is_id(entry["id"]):
            yield f"class {name!r}: id {entry['id']!r}, expected 0 to {TOP_ID}"
        if entry.get("id") == 0 and reduce_zero_label:
            yield f"class {name!r}: id 0, which reduce_zero_label ignores: give the ids in the masks, from 1 on"
        color = entry.get("color")
        if color is not None and not (
            isinstance(color, list) and len(color) == 3 and all(_is_id(x) and x < 256 for x in color)
        ):
            yield f"class {name!r}: color {color!r}, expected three numbers from 0 to 255"
    for field in ("name", "id"):
        values = [json.dumps(x[field]) for x in classes if isinstance(x, dict) and field in x]
        yield from (f"{field} {x} occurs twice" for x, count in sorted(Counter(values).items()) if count > 1)
    given = sum(isinstance(x, dict) and "id" in x for x in classes)
    if 0 < given < len(classes):
        yield f"{given} of {len(classes)} classes have an id: give an id to all of them, or to none"
    if not isinstance(reduce_zero_label, bool):
        yield f"reduce_zero_label is {reduce_zero_label!r}, expected true or false"
    ignored = content.get("ignore_ids", [])
    if not isinstance(ignored, list) or not all(map(_is_id, ignored)):
        yield f"ignore_ids is {ignored!r}, expected a list of ids from 0 to {TOP_ID}"
    pairs = content.get("flip_pairs", [])
    for pair in pairs if isinstance(pairs, list) else [pairs]:
        if not isinstance(pair, list) or len(pair) != 2 or not all(nfc(str(x)) in names for x in pair):
            yield f"flip_pairs has {pair!r}, expected the names of two classes"


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= TOP_ID


def suggest_classes_json(masks: Iterable[dict], max_pixels: int = MAX_PIXELS) -> str:
    """A text that lists the values in the masks with their shares, and a classes.json for them, ready to be saved.

    Args:
        masks: a sample of masks, as entries of an `Image(decode=False)` column.
        max_pixels: the most pixels that each may have.

    Raises:
        DataError: if they don't look like masks.
    """
    pixels: dict[tuple[str, int], int] = {}
    occurrences: dict[tuple[str, int], int] = {}
    palette, count = None, 0
    for source in masks:
        count += 1
        kind, values, counts, own_palette = _content(source, max_pixels)
        palette = palette or own_palette
        for value, number in zip(values.tolist(), counts.tolist(), strict=True):
            pixels[kind, value] = pixels.get((kind, value), 0) + number
            occurrences[kind, value] = occurrences.get((kind, value), 0) + 1
    kinds = {kind for kind, _ in pixels}
    if len(kinds) != 1:
        raise DataError("some masks hold ids, others colours: use one kind for all" if kinds else "there are no masks")
    (kind,) = kinds
    found = sorted(value for _, value in pixels)
    if len(found) > PROPOSED:
        raise DataError(
            f"{count} masks hold {len(found)} {kind}s, too many for classes: are these instance ids, photographs, or "
            "smoothed masks?"
        )
    total = sum(pixels.values())
    lines, classes = [], []
    ignored = [IGNORE] if kind == "id" and IGNORE in found and found != [0, IGNORE] else []
    for i, value in enumerate(found):
        shown = list(unpack_color(value)) if kind == "color" else value
        share = 100 * pixels[kind, value] / total
        lines.append(f"  {kind} {shown}: {share:.2f} % of the pixels, in {occurrences[kind, value]} of {count} masks")
        if value in ignored:
            continue
        if kind == "id":
            color = palette[value] if palette and value < len(palette) else distinct_color(i)
            classes.append({"name": f"class {value}", "id": value, "color": list(color)})
        else:
            classes.append({"name": f"class {i}", "color": shown})
    rows = ",\n    ".join(json.dumps(x) for x in classes)
    proposed = f'{{\n  "classes": [\n    {rows}\n  ],\n  "ignore_ids": {ignored},\n  "reduce_zero_label": false\n}}'
    return "\n".join(lines) + "\n\n" + proposed


def _content(source: dict, max_pixels: int) -> tuple[str, np.ndarray, np.ndarray, list[tuple[int, ...]] | None]:
    """`"id"` or `"color"`, the values in a mask, the number of pixels of each, and the mask's palette, if any."""
    path = source["path"]
    mask = open_image(source, max_pixels)
    check_mask(mask, path, by_color=True)
    values = stored_pixels(mask, path)
    if values.ndim == 3:
        return "color", *np.unique(pack_colors(values), return_counts=True), None
    return "id", *np.unique(values.astype(np.int64), return_counts=True), _palette(mask)


def _palette(mask: Image.Image) -> list[tuple[int, ...]] | None:
    flat = mask.getpalette() if mask.mode == "P" else None
    return None if flat is None else list(zip(flat[::3], flat[1::3], flat[2::3], strict=True))
