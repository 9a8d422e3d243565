"""Segmenting image files."""

from __future__ import annotations

import glob
import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from ..data.decoding import SUFFIXES, DataError, read_image
from .checkpoint import class_names
from .pictures import class_palette, colorize, overlay, with_legend
from .segmentation import Inference, segment

logger = logging.getLogger("modeling_ocrnet.inference")

KINDS = ("mask", "overlay", "ids")


@dataclass(frozen=True)
class Job:
    """An image, and the path that its results' names begin with."""

    image: Path
    target: Path

    def result(self, kind: str) -> Path:
        return self.target.with_name(f"{self.target.name}_{kind}.png")


def find_jobs(inputs: list[str], output_dir: str | Path) -> list[Job]:
    """What is to be segmented, and where the results go.

    Args:
        inputs: images, folders (with their subfolders) or glob patterns.
        output_dir: keeps the folders' structure.

    Raises:
        DataError: for an input without images, and where a result would overwrite an input.
    """
    output_dir, found = Path(output_dir), {}
    for text in inputs:
        images = _images(text, output_dir)
        if not images:
            raise DataError(f"{text}: no image, folder of images or pattern that matches any ({', '.join(SUFFIXES)})")
        found |= {path: name for path, name in images if path not in found}
    stems = Counter(name.with_suffix("") for name in found.values())
    jobs = [
        # two images that differ in their suffixes alone keep them
        Job(path, output_dir / (name if stems[name.with_suffix("")] > 1 else name.with_suffix("")))
        for path, name in found.items()
    ]
    if outside := [x.image for x in jobs if ".." in x.target.relative_to(output_dir).parts]:
        raise DataError(f"{outside[0]}: its results would leave {output_dir}: give a pattern without '..' after a '*'")
    inputs_there = {path.resolve() for path in found}
    for job in jobs:
        for kind in KINDS:
            if job.result(kind).resolve() in inputs_there:
                raise DataError(f"{job.result(kind)}: would be overwritten, but is an input: choose another output_dir")
    return jobs


def _images(text: str, output_dir: Path) -> list[tuple[Path, Path]]:
    """The images that an input means, and their names below it. Earlier results in a folder below it aren't."""
    path = Path(text)
    if path.is_file():
        return [(path, Path(path.name))]
    if path.is_dir():
        files, base = sorted(path.rglob("*")), path
        if path.resolve() in output_dir.resolve().parents:
            files = [x for x in files if output_dir.resolve() not in x.resolve().parents]
    else:
        fixed = []
        for part in path.parts:
            if glob.has_magic(part):
                break
            fixed.append(part)
        files, base = sorted(map(Path, glob.glob(text, recursive=True))), Path(*fixed)
    return [(x, x.relative_to(base)) for x in files if x.suffix.lower() in SUFFIXES and x.is_file()]


def predict_files(model, processor, jobs: list[Job], options: Inference) -> list[str]:
    """Segment images and write, for each, its coloured mask, an overlay with a legend, and its ids.

    The ids are the dataset's own where the checkpoint knows them (`config.label_ids`), class indices otherwise.

    Returns:
        A line for each image that couldn't be read; the others are done.
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
                    read.append((job, read_image({"path": str(job.image), "bytes": None}, processor.value_range)))
                except DataError as error:
                    logger.error("%s", error)
                    failures.append(str(error))
                    bar.update()
            for (job, image), label_map in zip(
                read, segment(model, processor, [image for _, image in read], options), strict=True
            ):
                job.target.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(colorize(label_map, palette)).save(job.result("mask"))
                blended = overlay(np.asarray(image), label_map, palette)
                with_legend(blended, label_map, names, palette).save(job.result("overlay"))
                Image.fromarray(ids[label_map]).save(job.result("ids"))
                bar.update()
    return failures
