"""The classes of custom datasets, read from a classes.json."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..configuration_ocrnet import ignore_index
from .class_fields import class_id, colors_of, field_problems, is_ignored
from .decoding import DataError
from .labels import IGNORE, Color, Label, LabelSet, distinct_color
from .text_files import read_text
from .unicode_names import nfc

LEAST, MOST = 2, 65535  # classes: with one there is nothing to predict; indices and `ignore` must fit into 16 bits


def read_classes(file: Path, reduce_zero_label: bool = False, ignore_ids: Iterable[int] = ()) -> LabelSet:
    """Read the label set that a JSON file describes.

    Args:
        file: `{"classes": [{"name": "road", "id": 7, "color": [128, 64, 128]}, ...], "ignore_ids": [255],
            "ignore_colors": [[0, 0, 0]], "reduce_zero_label": false, "flip_pairs": [["left arm", "right arm"]]}`, in
            which only the names are required; a list of names; or `{"0": "road", ...}`, as in `id2label.json` files on
            the Hub. Ids are those in the mask files; if none are given, classes are counted from 0, or from 1 with
            `reduce_zero_label`. (The ids of an `id2label` with `reduce_zero_label` are those after the reduction, as on
            the Hub.) A class with `"ignore": true` isn't trained, but its pixels are known by its id or its colour; if
            no class has an id, it keeps its place in the count. `"colors": [[128, 0, 0], [64, 192, 0]]`, in place of
            `color`, joins several colours of the masks to one class.
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
    if problems := field_problems(classes, content, reduce_zero_label, set(ignore_ids)):
        raise DataError(f"{file}: " + "\n  ".join(problems))
    return _labels(file, classes, content, reduce_zero_label, ignore_ids, of_hub)


def _labels(
    file: Path, entries: list[dict], content: dict, reduce_zero_label: bool, ignore_ids: Iterable[int], of_hub: bool
) -> LabelSet:
    """The label set of a classes.json that is right in its fields."""
    first = 1 if reduce_zero_label else 0
    ids_given = any("id" in x for x in entries)
    classes = [(x, class_id(x, i, first, ids_given)) for i, x in enumerate(entries)]
    ids = {i for _, i in classes}
    named = {*content.get("ignore_ids", ()), *ignore_ids, *({0} if reduce_zero_label else ())}
    named |= {i for x, i in classes if is_ignored(x) and i >= 0}
    trained = [x for x, i in classes if not is_ignored(x) and i not in named]
    if not LEAST <= len(trained) <= MOST:
        raise DataError(
            f"{file}: {len(trained)} classes are trained, expected {LEAST} to {MOST}; if there is one thing to find, "
            "the background is the other class"
        )
    ignore = ignore_index(len(trained))
    ignored = named | ({IGNORE, ignore} - ids)
    index = {x["name"]: i for i, x in enumerate(trained)}
    labels = [
        Label(x["name"], id_, index.get(x["name"], ignore), (*colors_of(x), distinct_color(first + i))[0])
        for i, (x, id_) in enumerate(classes)
    ]
    ignored_colors = colors_of({"colors": content.get("ignore_colors", [])})
    labels += [Label(f"ignored {list(x)}", -1, ignore, x) for x in dict.fromkeys(ignored_colors)]
    pairs = ((nfc(a), nfc(b)) for a, b in content.get("flip_pairs", ()))
    return LabelSet(
        (*labels, *(Label(f"ignored {i}", i, ignore, (0, 0, 0)) for i in sorted(ignored - ids))),
        flip_pairs=tuple((index[a], index[b]) for a, b in pairs if {a, b} <= index.keys()),
        color_codes=_color_codes(entries, index, ignored_colors, ignore),
        origin=str(file),
        ignore=ignore,
        # an id2label can't list ignored ids: on the Hub, 255 is ignored
        assumed_ignored=IGNORE if IGNORE in ignored - named and not of_hub else None,
        counted_from_one=reduce_zero_label and not ids_given,
    )


def _color_codes(
    classes: list[dict], index: dict[str, int], ignored: list[Color], ignore: int
) -> tuple[tuple[Color, int], ...]:
    """The train id of each colour; nothing if a trained class has no colour, or if a colour has two meanings."""
    meanings = {(color, index.get(x["name"], ignore)) for x in classes for color in colors_of(x)}
    meanings |= {(color, ignore) for color in ignored}
    unique = len({color for color, _ in meanings}) == len(meanings)
    return tuple(sorted(meanings)) if unique and all(colors_of(x) for x in classes if x["name"] in index) else ()


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
