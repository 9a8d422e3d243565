"""Writes scenes to disk, in the file tree and file formats of Cityscapes."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw
from tqdm import tqdm

from .labels import LABELS
from .layout import lay_out
from .light import pick_light
from .painting import Painter, visible
from .things import Thing

VERSION = 2  # of the generator; folders with another version count as different
MARKER = "scenes.json"
_CITIES = {"train": ("altmark", "birkenau", "cranzberg"), "val": ("dornfeld",)}


@dataclass
class Scene:
    """`image`: (H, W, 3) uint8 RGB. `objects`: the labelled things in painter's order."""

    image: np.ndarray
    objects: list[Thing]


def draw_scene(rng: np.random.Generator, size: tuple[int, int]) -> Scene:
    """Draw one street scene.

    Args:
        rng: its state determines the whole scene.
        size: image height and width in pixels.
    """
    camera, things = lay_out(rng, size)
    things = list(visible(things, size, least=max(4, size[0] * size[1] // 20000)))
    return Scene(Painter(camera, pick_light(rng), rng).paint(things), things)


def _annotation(scene: Scene) -> dict:
    """A scene's labels in the format of Cityscapes' polygon files."""
    objects = [{"label": thing.label, "polygon": thing.polygon.tolist()} for thing in scene.objects]
    return {"imgHeight": scene.image.shape[0], "imgWidth": scene.image.shape[1], "objects": objects}


def _masks(scene: Scene) -> dict[str, np.ndarray]:
    """The label images that Cityscapes' scripts make from a scene's polygon file, by the ending of their names.

    These are `labelIds` (H, W) uint8, `instanceIds` (H, W) uint16 and `color` (H, W, 3) uint8.
    """
    owner = Image.new("I", scene.image.shape[1::-1], 0)  # the number of the topmost object, from 1
    draw, rows = ImageDraw.Draw(owner), [LABELS["unlabeled"]]
    seen: dict[int, int] = {}
    instances = [rows[0].id]
    for number, thing in enumerate(scene.objects, 1):
        draw.polygon(thing.polygon.ravel().tolist(), fill=number)
        label = LABELS[thing.label]
        rows.append(label)
        seen[label.id] = seen.get(label.id, -1) + 1
        instances.append(label.id * 1000 + seen[label.id] if label.has_instances else label.id)
    top = np.asarray(owner)
    return {
        "labelIds": np.array([label.id for label in rows], np.uint8)[top],
        "instanceIds": np.array(instances, np.uint16)[top],
        "color": np.array([label.color for label in rows], np.uint8)[top],
    }


def _png(image: np.ndarray) -> bytes:
    """Encode an RGB image (H, W, 3) uint8 as PNG, with low compression, because noise hardly compresses."""
    options = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    return cv2.imencode(".png", image[..., ::-1], options)[1].tobytes()


def _write(scene: Scene, root: Path, split: str, city: str, name: str) -> None:
    images, labels = root / "leftImg8bit" / split / city, root / "gtFine" / split / city
    images.mkdir(parents=True, exist_ok=True)
    labels.mkdir(parents=True, exist_ok=True)
    (images / f"{name}_leftImg8bit.png").write_bytes(_png(scene.image))
    for ending, mask in _masks(scene).items():
        file = labels / f"{name}_gtFine_{ending}.png"
        if mask.ndim == 3:
            file.write_bytes(_png(mask))
        else:
            Image.fromarray(mask).save(file, compress_level=1)
    (labels / f"{name}_gtFine_polygons.json").write_text(json.dumps(_annotation(scene)), encoding="utf-8")


def _is_written(root: Path, marker: dict) -> bool:
    """Whether `root` holds exactly these scenes. Raises FileExistsError if it holds anything else."""
    if not root.exists():
        return False
    try:
        found = json.loads((root / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if found == marker:
        return True
    has = "no scenes.json" if found is None else f"scenes with {found}"
    raise FileExistsError(f"{root} has {has}, expected {marker}: remove the folder or choose another")


def write_street_scenes(
    root: str | Path, *, train: int = 240, val: int = 40, size: tuple[int, int] = (256, 512), seed: int = 0
) -> None:
    """Write synthetic street scenes with labels in Cityscapes' tree. Does nothing if they exist already.

    Args:
        root: the folder to create. The whole tree is written next to it first and then renamed.
        train: number of training scenes.
        val: number of validation scenes.
        size: image height and width in pixels.
        seed: scene i of a split depends only on the seed, the split and i.

    Raises:
        FileExistsError: if `root` exists and holds something else.
    """
    root, counts = Path(root), {"train": int(train), "val": int(val)}
    size = (int(size[0]), int(size[1]))
    marker = {"version": VERSION, **counts, "size": list(size), "seed": int(seed)}
    if _is_written(root, marker):
        return
    root.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    try:
        jobs = [(number, split, i) for number, (split, count) in enumerate(counts.items()) for i in range(count)]
        for number, split, i in tqdm(jobs, "drawing street scenes", disable=None):
            rng = np.random.default_rng(np.random.SeedSequence([seed, number, i]))
            city = _CITIES[split][i % len(_CITIES[split])]
            _write(draw_scene(rng, size), work, split, city, f"{city}_{i:06d}_{19:06d}")
        (work / MARKER).write_text(json.dumps(marker) + "\n", encoding="utf-8")
        work.chmod(0o755)  # mkdtemp makes folders that only the owner can read
        try:
            os.rename(work, root)
        except OSError:
            if not _is_written(root, marker):  # another process may have been faster
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
