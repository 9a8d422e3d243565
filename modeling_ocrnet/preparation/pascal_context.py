"""The command `pascal_context`: PASCAL-Context's masks and lists from `trainval_merged.json`.

The regions of an image are painted in the file's order, later ones over earlier ones, and pixels that no region covers
are background, as in PASCAL in Detail's API. The file's regions have 59 of the 459 categories.
"""

from __future__ import annotations

import json
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from ..common.atomic_files import atomic_write
from ..common.errors import UserError, writing
from ..data.datasets.pascal_context_59 import DATASET
from ..data.decoding import DataError
from ..data.image_headers import open_image
from ..data.pairs import find_folder
from .run_lengths import region_mask

# category ids of the 59 classes; in this order, they become 1..59 in the masks, as in mmsegmentation's copies
CATEGORIES = (
    *(2, 9, 18, 19, 22, 23, 25, 31, 33, 34, 44, 45, 46, 59, 65, 68, 72, 80, 85, 98, 104, 105, 113, 115, 144, 158, 159),
    *(162, 187, 189, 207, 220, 232, 258, 259, 260, 284, 295, 296, 308, 324, 326, 347, 349, 354, 355, 360, 366, 368),
    *(397, 415, 416, 420, 424, 427, 440, 445, 454, 458),
)
CLASS_OF = {0: 0} | {category: k for k, category in enumerate(CATEGORIES, start=1)}  # 0 is the background
SPLITS = ("train", "val")


@dataclass
class Frame:
    """An image in the file: the name of its JPEG without suffix, its split, (height, width), and its regions in
    order."""

    name: str
    split: str
    size: tuple[int, int]
    regions: list[dict]


def pascal_context(root: str = DATASET.default_root, annotations: str | None = None, workers: int = 4) -> int:
    """Make PASCAL-Context's masks and lists from trainval_merged.json, beside VOC 2010's JPEGImages.

    Existing masks are kept, so an interrupted run continues where it stopped; remove SegmentationClassContext to make
    all masks again.

    Args:
        root: VOC2010, the folder that holds JPEGImages.
        annotations: The annotation file (null: trainval_merged.json in the root).
        workers: Number of threads that decode.

    Returns:
        The exit code: 1 if a region couldn't be decoded. The lists are written when all masks exist.

    Raises:
        UserError: for an invalid number of workers.
        DataError: if the root or the file isn't as expected. Nothing is written then.
    """
    if workers < 1:
        raise UserError(f"--workers must be at least 1, got {workers}")
    images = find_folder(Path(root).expanduser(), "JPEGImages", "VOC2010/JPEGImages", "VOCdevkit/VOC2010/JPEGImages")
    voc = images.parent
    frames = read_annotations(voc / "trainval_merged.json" if annotations is None else Path(annotations).expanduser())
    if absent := [f"{images / frame.name}.jpg" for frame in frames if not (images / f"{frame.name}.jpg").is_file()]:
        raise DataError("\n  ".join([f"{len(absent)} images are missing; unpack VOC 2010's:", *absent]))
    masks, lists = (_own_folder(voc, x) for x in ("SegmentationClassContext", "ImageSets/SegmentationContext"))
    with writing(masks):
        masks.mkdir(exist_ok=True)
    todo = [frame for frame in frames if not (masks / f"{frame.name}.png").exists()]
    problems = []
    with ThreadPoolExecutor(workers) as pool, tqdm(total=len(todo), unit="mask", disable=None) as bar:
        for found in pool.map(lambda frame: _write(frame, images, masks), todo):
            problems += found
            bar.update()
    print(f"{len(todo)} masks to make, {len(frames) - len(todo)} existed: {masks}")
    if problems:
        print("\n  ".join([f"{len(problems)} regions can't be decoded; download the file again:", *problems]))
        return 1
    for split in SPLITS:
        names = sorted(frame.name for frame in frames if frame.split == split)
        with atomic_write(lists / f"{split}.txt") as part:
            part.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
        print(f"{split}: {len(names)} images listed in {lists / f'{split}.txt'}")
    return 0


def read_annotations(file: Path) -> list[Frame]:
    """Read the images of train and val, with their regions.

    Raises:
        DataError: lists everything in the file that isn't as expected.
    """
    try:
        content = json.loads(file.read_bytes())
    except FileNotFoundError as error:
        raise DataError(
            f"{file}: no such file; `ocrnet data layout --data.name pascal_context_59` says where it comes from"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{file}: not readable as JSON ({error}): download it again") from error
    try:
        frames = {
            x["image_id"]: Frame(Path(x["file_name"]).stem, x["phase"], (x["height"], x["width"]), [])
            for x in content["images"]
        }
        # an id that occurs twice keeps its place and takes the later content
        regions = {x["id"]: x for x in content["annos_segmentation"]}
        strays = [x["id"] for x in regions.values() if x["image_id"] not in frames]
        unknown = defaultdict(list)
        for region in regions.values():
            if region["category_id"] not in CLASS_OF:
                unknown[region["category_id"]].append(region["id"])
            elif region["image_id"] in frames:
                frames[region["image_id"]].regions.append(region)
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{file}: isn't PASCAL in Detail's format ({error!r}); expected images and annos_segmentation"
        ) from error
    problems = [f"category {k}, which isn't one of the 59: annotations {ids}" for k, ids in unknown.items()]
    if strays:
        problems.append(f"annotations of images that aren't in the file: {strays}")
    chosen = [frame for frame in frames.values() if frame.split in SPLITS]
    if not chosen:
        problems.append(f"no image of the phases {' or '.join(SPLITS)}")
    if problems:
        raise DataError("\n  ".join([f"{file}: not as expected", *problems]))
    return chosen


def paint(frame: Frame) -> np.ndarray:
    """Paint the mask of an image, (height, width) uint8: 0 is the background, 1..59 are the classes.

    Raises:
        DataError: lists the regions that can't be decoded.
    """
    mask, problems = np.zeros(frame.size, np.uint8), []
    for region in frame.regions:
        try:
            mask[region_mask(region["segmentation"], *frame.size)] = CLASS_OF[region["category_id"]]
        except (ValueError, TypeError, LookupError, ArithmeticError) as error:  # DataError is a ValueError
            problems.append(f"{frame.name}, annotation {region['id']}: {error}")
    if problems:
        raise DataError("\n  ".join(problems))
    return mask


def _own_folder(root: Path, name: str) -> Path:
    """A folder to write into. A link that leads out of the root is refused."""
    folder = root / name
    if not folder.resolve().is_relative_to(root.resolve()):
        raise DataError(f"{folder}: links to {folder.resolve()}, outside of {root}: remove the link")
    return folder


def _write(frame: Frame, images: Path, folder: Path) -> list[str]:
    """Write a mask atomically. Returns the problems that prevented it."""
    try:
        with open_image({"path": f"{images / frame.name}.jpg", "bytes": None}) as image:
            if image.size[::-1] != frame.size:
                return [f"{frame.name}: has {frame.size} rows and columns, but its image has {image.size[::-1]}"]
        mask = paint(frame)
    except DataError as error:
        return str(error).split("\n  ")
    with atomic_write(folder / f"{frame.name}.png") as part:
        Image.fromarray(mask).save(part, format="PNG")
    return []
