"""Custom images and masks in folders, or listed in a CSV or JSONL file; a classes.json beside them has the classes.

The layouts are `{train,val,test}/{images,masks}`, `{images,masks}/{train,val,test}`, `{train,val,test}.csv` (or
`.jsonl`) with the columns image and mask, or just `{images,masks}`: the split `all`, which `val_share` divides.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Set
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from .class_proposal import suggest_classes_json
from .classes import read_classes
from .decoding import DataError
from .image_files import SUFFIXES, UNREAD, folder_names, image_names, left_out, shown_suffixes
from .labels import LabelSet
from .memory_mapped_store import read_manifest
from .name_endings import pair_by_endings, several_endings
from .pairs import Pairs
from .source import DataSource
from .text_files import GUESS, REMEDY, read_table
from .unicode_names import nfc, path_on_disk, told_apart

__all__ = ["find", "label_set"]

logger = logging.getLogger(__name__)

SHOWN = 10  # problems that a message lists
ENDINGS = 10  # endings of names that a message lists
SAMPLE = 64  # masks that a proposal of classes is based on
# accepted folder names; the first that exists is used
_SPLITS = {"train": ("train", "training"), "val": ("val", "validation", "valid"), "test": ("test", "testing")}
_IMAGES = ("images", "img_dir", "image", "imgs", "JPEGImages")
_MASKS = ("masks", "labels", "annotations", "ann_dir", "mask", "label", "SegmentationClass")
_WAYS = (
    "needs {split}/images and {split}/masks, or images/{split} and masks/{split}, or {split}.csv "
    "with the columns image and mask"
)


def label_set(source: DataSource) -> LabelSet:
    """The classes, from the file that the source names, or from `classes.json` in its root.

    Raises:
        DataError: if there is no such file; the message proposes one, based on the content of the masks.
    """
    root = _root(source)
    if read_manifest(root) is not None:  # the export applied the source's mask options and wrote train ids
        return replace(read_classes(root / "classes.json"), assumed_ignored=None)
    file = Path(source.classes).expanduser() if source.classes else root / "classes.json"
    if source.classes or file.is_file():
        return read_classes(file, source.reduce_zero_label, source.ignore_ids)
    tables = (_where(root, split) for split in ("train", "all", "val"))
    where = next((x for x in tables if x is not None), None)
    if where is None:
        raise DataError(f"{root}: holds no images and masks; the split train {_WAYS.format(split='train')}")
    masks = [x for x in _pairs(where, source, labelled=False).masks if x is not None]
    sample = masks[:: max(1, -(-len(masks) // SAMPLE))]
    held = suggest_classes_json(({"path": str(x), "bytes": None} for x in sample), source.max_pixels)
    raise DataError(
        f"{file}: there is no such file, but it is needed to define the classes. {len(sample)} of {len(masks)} masks "
        f"hold\n{held}\n\nName the classes, and save this as {file}"
    )


def find(source: DataSource, split: str) -> Pairs:
    """The pairs of a split, sorted by name; only `test` may lack masks.

    Raises:
        DataError: if there is no such split (the message says how to add it), or files have no partner (it lists them).
    """
    root = _root(source)
    where, whole = _where(root, split), _where(root, "train") or _where(root, "all")
    if source.val_share is not None and split in ("train", "val") and whole is not None:
        if _where(root, "val") is not None:
            raise DataError(f"{root}: has a split val, and val_share would make another one: leave val_share out")
        return _share(_pairs(whole, source), source.val_share, split, root)
    if where is None:
        others = [x for x in (*_SPLITS, "all") if _where(root, x) is not None]
        remedy = _WAYS.format(split=split)
        if whole is not None and split in ("train", "val") and "val" not in others:
            remedy += "; or val_share 0.2 holds out a fifth of the images (give it to training and to evaluation)"
        only = f", only {', '.join(others)}" if others else ""
        raise DataError(f"{root}: has no split {split}{only}; it {remedy}")
    return _pairs(where, source, labelled=split != "test")


def _root(source: DataSource) -> Path:
    root = source.folder
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; give the folder of your images and masks as the root")
    return root


def _where(root: Path, split: str) -> tuple[Path, ...] | None:
    """A split's table, or its folders of images and of masks (the latter may be missing); `None` if it has neither."""
    for name in _SPLITS.get(split, (split,)):
        for table in (root / f"{name}.csv", root / f"{name}.jsonl"):
            if table.is_file():
                return (table,)
        for pattern in ("{split}/{kind}", "{kind}/{split}") if split != "all" else ("{kind}",):
            folders = [[root / pattern.format(split=name, kind=kind) for kind in x] for x in (_IMAGES, _MASKS)]
            images, masks = (next((x for x in candidates if x.is_dir()), None) for candidates in folders)
            if images is not None and (split != "all" or _holds_images(images)):
                return images, masks if masks is not None else folders[1][0]
    return None


def _holds_images(folder: Path) -> bool:
    """Whether images lie in the folder itself: some that are read, or only others, and no splits below it."""
    return any(image_names(folder)) or not folder_names(folder) and any(image_names(folder, UNREAD))


def _pairs(where: tuple[Path, ...], source: DataSource, labelled: bool = True) -> Pairs:
    """Images with the masks of the same names, sorted by name. With `labelled`, every image needs a mask."""
    if len(where) == 1:
        pairs, problems = _listed(where[0], source)
    else:
        images, masks = where
        pairs, problems = _matched(images, masks, labelled)
    if labelled:
        problems += [f"{x}: has no mask" for x, mask in zip(pairs.images, pairs.masks, strict=True) if mask is None]
    if not problems and not pairs.images:
        problems = [f"{where[0]}: holds no image"]
    if problems:
        more = f"\n  and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise DataError(f"{len(problems)} problems with the pairs:\n  " + "\n  ".join(problems[:SHOWN]) + more)
    return pairs


def _matched(images: Path, masks: Path, labelled: bool) -> tuple[Pairs, list[str]]:
    if labelled and not masks.is_dir():
        return Pairs([], [], []), [f"{masks}: no such folder; it should hold the masks of {images}"]
    found, partners = _by_stem(images), _by_stem(masks) if masks.is_dir() else {}
    unread = {x: y for x, y in _by_stem(images, UNREAD).items() if x not in found}
    unread_masks = {x: y for x, y in (_by_stem(masks, UNREAD) if masks.is_dir() else {}).items() if x not in partners}
    # an unread image is needed if there is a mask for it, or if no image is read at all
    problems = _unread_problems(unread, partners.keys() | unread_masks.keys() if found else unread.keys())
    problems += _unread_problems(unread_masks, found.keys() | unread.keys())
    alone = sorted(partners.keys() - found.keys() - unread.keys())
    if found and alone and len(alone) == len(partners):
        try:
            partners, alone = _by_endings(masks, found, partners), []
        except DataError as error:
            return Pairs([], [], []), [str(error)]
    problems += [f"{partners[x][0]}: a mask without an image" for x in alone]
    for group in (*found.values(), *partners.values()):
        if len(group) > 1:
            first, *others = told_apart([x.name for x in group])
            problems.append(f"{group[0].parent}/{first}: its name without suffix is also that of {', '.join(others)}")
    if not found and folder_names(images):
        problems.append(f"{images}: its images are in subfolders: list the pairs in a CSV")
    names = sorted(found.keys() - unread_masks.keys())  # the others have no mask because theirs isn't read
    return Pairs(names, [found[x][0] for x in names], [partners.get(x, [None])[0] for x in names]), problems


def _by_endings(masks: Path, found: dict[str, list[Path]], partners: dict[str, list[Path]]) -> dict[str, list[Path]]:
    """The masks by the names of their images, if these names differ by what all images and all masks share."""
    kinds = several_endings(found.keys(), partners.keys())
    endings, tried = pair_by_endings(found.keys(), partners.keys())
    image, mask = (next(iter(x.values()))[0].name for x in (found, partners))
    if endings is None and kinds:
        shown = ", ".join(kinds[:ENDINGS]) + (f" and {len(kinds) - ENDINGS} more" if len(kinds) > ENDINGS else "")
        raise DataError(
            f"{masks}: several masks fit one image ({image}); their names end in {shown}: keep the masks of one ending "
            "there and move the others to another folder, or list the pairs in a CSV"
        )
    if endings is None:
        raise DataError(
            f"{masks}: no mask has the name of an image ({image}, {mask}): the names must be the same except for their "
            f"suffix and for an ending that all images or all masks share, or the pairs be listed in a CSV{tried}"
        )
    mask = partners[endings.partners[nfc(os.path.splitext(image)[0])]][0].name
    _say_once(
        f"{masks}: no mask has the name of an image, but without {endings} they are the same: {len(found)} pairs, e.g. "
        f"{image} with {mask}"
    )
    return {x: partners[y] for x, y in endings.partners.items()}


@cache
def _say_once(text: str) -> None:
    """Log a line that two splits of one folder would log twice."""
    logger.warning("%s", text)


def _unread_problems(files: dict[str, list[Path]], needed: Set[str]) -> list[str]:
    """A line for each file whose suffix isn't read, by name without suffix, if it is needed. The others are logged."""
    if others := sorted(files.keys() - needed):
        logger.warning("%s", left_out([files[x][0] for x in others]))
    return [
        f"{files[x][0]}: {files[x][0].suffix} files aren't read, only {shown_suffixes()}: convert it to PNG"
        for x in sorted(files.keys() & needed)
    ]


def _by_stem(folder: Path, suffixes: tuple[str, ...] = SUFFIXES) -> dict[str, list[Path]]:
    """The images of a folder by name without suffix."""
    found: dict[str, list[Path]] = {}
    for name in sorted(image_names(folder, suffixes)):
        found.setdefault(nfc(os.path.splitext(name)[0]), []).append(folder / name)
    return found


def _listed(table: Path, source: DataSource) -> tuple[Pairs, list[str]]:
    """The pairs listed in a CSV or JSONL; its paths are relative to its folder."""
    columns = (nfc(source.image_column), nfc(source.mask_column))
    rows: list[Any] = []
    problems: list[str] = []
    listed: dict[Path, dict[str, str | None]] = {}
    read, guessed = read_table(table, columns)
    for i, row in enumerate(read, start=1):
        if not isinstance(row, dict) or not all(column in row for column in columns):
            has = ", ".join(map(str, row)) if isinstance(row, dict) else repr(row)
            problems.append(
                f"{table}: row {i} has the columns {has}, expected {' and '.join(columns)} (see image_column, "
                "mask_column)"
            )
            break  # the other rows have the same problem
        if not row[columns[0]]:
            problems.append(f"{table}: row {i} names no image")
        elif not all(isinstance(row[column], str | None) for column in columns):
            problems.append(f"{table}: row {i} holds {row}, expected paths")
        else:
            paths = [path_on_disk(table.parent / x, listed) if x else None for x in (row[y] for y in columns)]
            rows.append(paths)
            problems += _misread(table, i, paths) if guessed else []
    images = [image for image, _ in rows]
    counts = Counter(images)
    problems += [f"{table}: lists {image} {count} times" for image, count in counts.items() if count > 1]
    # names come from the paths alone: they must not change if rows are added, because val_share hashes them
    names = [nfc("_".join(_below(x, table.parent).with_suffix("").parts)) for x in images]
    alike: dict[str, dict[str, None]] = {}
    for name, image in zip(names, images, strict=True):
        alike.setdefault(name, {})[str(image)] = None
    problems += [
        f"{table}: {len(group)} images would have the name {name}: {', '.join(told_apart(list(group)))}"
        for name, group in alike.items()
        if len(group) > 1
    ]
    order = sorted(range(len(rows)), key=names.__getitem__)
    return Pairs([names[i] for i in order], [rows[i][0] for i in order], [rows[i][1] for i in order]), problems


def _misread(table: Path, row: int, paths: list[Path | None]) -> list[str]:
    """The paths of a table, whose encoding is a guess, that show that the guess is wrong."""
    return [
        f"{table}: row {row} names {x}, which isn't there: the table isn't UTF-8 and was read as {GUESS}: {REMEDY}"
        for x in paths
        if x is not None and not str(x).isascii() and not os.path.lexists(x)
    ]


def _below(path: Path, folder: Path) -> Path:
    return path.relative_to(path.anchor) if not path.is_relative_to(folder) else path.relative_to(folder)


def _share(pairs: Pairs, share: float, split: str, root: Path) -> Pairs:
    """The pairs of `val`, or the rest. The choice depends on each name alone, so new images don't move others."""
    held_out = [int(hashlib.sha256(x.encode()).hexdigest()[:8], 16) < share * 2**32 for x in pairs.names]
    chosen = [i for i, held in enumerate(held_out) if held == (split == "val")]
    if not chosen:
        raise DataError(f"{root}: val_share {share} of {len(pairs.names)} images leaves none for {split}")
    return Pairs([pairs.names[i] for i in chosen], [pairs.images[i] for i in chosen], [pairs.masks[i] for i in chosen])
