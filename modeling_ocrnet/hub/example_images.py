"""Sample pictures for a model card: only those that may be published, and that show these weights."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from .data_notes import facts_of
from .folder import ModelFolder

COUNT, WIDTH = 3, 960  # at most this many pictures, and pixels on the longer edge


def sample_pictures(folder: ModelFolder) -> dict[str, bytes]:
    """A few of the pictures (image, prediction, truth) that the training run wrote beside its model folder.

    Args:
        folder: the model.

    Returns:
        PNG files by their path in the repository, `pictures/<name>.png`. Empty if the images may not be published, or
        if the weights aren't those at the end of a training run, because the pictures would show other weights.
    """
    # other datasets' terms forbid publishing images (Cityscapes), or set conditions (CamVid)
    facts = facts_of(folder.dataset)
    if facts is None or not facts.free_to_show:
        return {}
    run = folder.path.resolve().parent
    # without metrics.jsonl this isn't a run's folder, and its "pictures" may be private
    if not (run / "metrics.jsonl").is_file() or not _is_last(folder):
        return {}
    files = sorted((run / "pictures").glob("[!.]*.png"))  # without the hidden files that macOS adds
    chosen = [files[round(i * (len(files) - 1) / max(COUNT - 1, 1))] for i in range(min(COUNT, len(files)))]
    return {f"pictures/{path.name}": _small_png(path) for path in chosen}


def _is_last(folder: ModelFolder) -> bool:
    """Whether these are the weights at the end of their run, with which its pictures were made."""
    last = folder.field("schedule", "max_steps")
    return last is not None and (folder.metrics or {}).get("step") == last


def _small_png(path: Path) -> bytes:
    with Image.open(path) as file:
        image = file.convert("RGB")
        image.thumbnail((WIDTH, WIDTH))
        data = io.BytesIO()
        image.save(data, "PNG", optimize=True)
    return data.getvalue()
