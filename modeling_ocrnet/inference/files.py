"""Segment image files."""

from __future__ import annotations

import glob
import logging
import os
from collections import Counter
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from ..common.errors import writing
from ..data.decoding import DataError, read_image_and_remarks
from ..data.image_files import SUFFIXES, UNREAD, image_files, is_image, left_out
from ..data.image_headers import MAX_PIXELS
from ..data.unicode_names import nfc, path_on_disk
from .drawing import class_palette, colorize, overlay, with_legend
from .loading import class_names
from .segmentation import InferenceOptions, segment

logger = logging.getLogger("modeling_ocrnet.inference")

KINDS = ("mask", "overlay", "ids")
_ALL = (*SUFFIXES, *UNREAD)


@dataclass(frozen=True)
class InputImage:
    """An image file, and the path prefix of its results."""

    image: Path
    target: Path

    def result(self, kind: str) -> Path:
        return self.target.with_name(f"{self.target.name}_{kind}.png")


def collect_inputs(inputs: list[str], output_dir: str | Path) -> list[InputImage]:
    """Find the images to segment, and choose the paths of their results.

    Args:
        inputs: as in [`find_images`].
        output_dir: the results' folder. It keeps the folder structure relative to each input. If two results would
            have the same name, it keeps the structure relative to the folder that contains all inputs.

    Raises:
        DataError: if an input has no images, or a result would overwrite an input.
    """
    output_dir, found = Path(output_dir), find_images(inputs, output_dir)
    jobs = [InputImage(path, output_dir / target) for path, target in _targets(found).items()]
    if outside := [x.image for x in jobs if ".." in x.target.relative_to(output_dir).parts]:
        raise DataError(f"{outside[0]}: its results would leave {output_dir}: give a pattern without '..' after a '*'")
    inputs_there = {_alike(_real(path)) for path in found}
    for job in jobs:
        for kind in KINDS:
            if _alike(_real(job.result(kind))) in inputs_there:
                raise DataError(f"{job.result(kind)}: would be overwritten, but is an input: choose another --output")
    return jobs


def find_images(inputs: list[str], output_dir: str | Path) -> dict[Path, Path]:
    """Find all images of the inputs, without duplicates.

    Args:
        inputs: images, folders (with their subfolders, see [`image_files`]) or glob patterns.
        output_dir: the results' folder. If an input contains it, the results of earlier runs in it are skipped.

    Returns:
        For each image, the base folder of its input.

    Raises:
        DataError: if an input has no images.
    """
    found, seen = {}, set()
    for text in inputs:
        base, images, unread = _images(text, _real(output_dir))
        if unread:
            line = f"{left_out(unread)}: convert to PNG"
            if not images:
                raise DataError(f"{text}: holds no image that is read; {line}")
            logger.warning("%s", line)
        if not images:
            raise DataError(f"{text}: not an image, a folder with images or a matching pattern ({', '.join(SUFFIXES)})")
        for path in images:
            if (place := os.path.abspath(path)) not in seen:
                seen.add(place)
                found[path] = base
    return found


def _images(text: str, output_dir: Path) -> tuple[Path, list[Path], list[Path]]:
    """The base folder of an input, its images, and those with a suffix that isn't read. Earlier results in a folder
    below it are skipped."""
    path = path_on_disk(Path(text), {})
    if path.is_file():
        return path.parent, [path], []
    if path.is_dir():
        base, images = path, image_files(path, _ALL)
    else:
        fixed = list(takewhile(lambda part: not glob.has_magic(part), path.parts))
        base, images = path_on_disk(Path(*fixed), {}), []
        pattern = str(Path(base, *path.parts[len(fixed) :]))
        for match in map(Path, sorted(glob.glob(pattern, recursive=True)) if glob.has_magic(pattern) else ()):
            images += image_files(match, _ALL) if match.is_dir() else [match] if is_image(match.name, _ALL) else []
    if _real(base) in output_dir.parents:
        images = [x for x in images if output_dir not in _real(x).parents]
    return base, [x for x in images if is_image(x.name)], [x for x in images if not is_image(x.name)]


def _targets(found: dict[Path, Path]) -> dict[Path, Path]:
    """A distinct result name for each image.

    Raises:
        DataError: if two names are equal and no folder contains all inputs.
    """
    targets = _short({path: path.relative_to(base) for path, base in found.items()})
    first: dict[str, Path] = {}
    twice = next((x for x in targets if first.setdefault(_alike(targets[x]), x) is not x), None)
    if twice is None:
        return targets
    try:
        top = os.path.commonpath([os.path.abspath(base) for base in found.values()])
    except ValueError as error:  # inputs on several drives (Windows)
        other = first[_alike(targets[twice])]
        raise DataError(
            f"{other} and {twice}: both results would be called {targets[twice]}: run them separately"
        ) from error
    longer = _short({path: Path(os.path.relpath(os.path.abspath(path), top)) for path in found})
    if longer != targets:  # equal if the names differ only in case, on a disk that distinguishes case
        logger.info("several images are called %s: results keep their paths below %s", targets[twice].name, top)
    return longer


def _short(names: dict[Path, Path]) -> dict[Path, Path]:
    """Names without their suffixes, except if that would make them equal to others."""
    stems = {path: name.with_suffix("") for path, name in names.items()}
    count = Counter(map(_alike, (*stems.values(), *names.values())))
    return {path: stems[path] if count[_alike(stems[path])] == 1 else names[path] for path in names}


def _real(path: str | Path) -> Path:
    """The path with links resolved. `Path.resolve` would raise for a link to itself."""
    return Path(os.path.realpath(path))


def _alike(path: Path) -> str:
    """A key that is equal for paths that macOS or Windows would treat as the same file."""
    return nfc(nfc(str(path)).casefold())


def predict_files(
    model, processor, jobs: list[InputImage], options: InferenceOptions, max_pixels: int = MAX_PIXELS
) -> list[str]:
    """Segment images and write a coloured mask, an overlay with a legend, and the ids of each.

    The ids are the dataset's own if the checkpoint has them (`config.label_ids`), class indices otherwise.

    Returns:
        One message for each image that couldn't be read; all others are written.
    """
    config = model.config
    names = class_names(config)
    palette = class_palette(config.palette, config.num_labels)
    ids = np.array(config.label_ids if config.label_ids is not None else range(config.num_labels))
    ids = ids.astype(np.uint8 if ids.max() < 256 else np.uint16)
    failures = []
    with logging_redirect_tqdm(), tqdm(total=len(jobs), unit="image") as bar:
        for first in range(0, len(jobs), options.batch_size):
            read = []
            for job in jobs[first : first + options.batch_size]:
                try:
                    image, odd, _ = read_image_and_remarks(
                        {"path": str(job.image), "bytes": None}, processor.value_range, max_pixels
                    )
                    read.append((job, image))
                    if odd:
                        logger.warning("%s", odd)
                except DataError as error:
                    logger.error("%s", error)
                    failures.append(str(error))
                    bar.update()
            for (job, image), label_map in zip(
                read, segment(model, processor, [image for _, image in read], options), strict=True
            ):
                blended = overlay(np.asarray(image), label_map, palette)
                pictures = {
                    "mask": Image.fromarray(colorize(label_map, palette)),
                    "overlay": with_legend(blended, label_map, names, palette),
                    "ids": Image.fromarray(ids[label_map]),
                }
                with writing(job.target.parent):
                    job.target.parent.mkdir(parents=True, exist_ok=True)
                    for kind, picture in pictures.items():
                        picture.save(job.result(kind))
                bar.update()
    return failures
