"""Sample pictures for a model card: only those that may be passed on, and that show these weights."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from .data_notes import facts_of
from .folder import ModelFolder

COUNT, WIDTH = 3, 960  # pictures, and pixels at most


def sample_pictures(folder: ModelFolder) -> dict[str, bytes]:
    """A few of the pictures (image, prediction, truth) that the training run left beside its model folder.

    Args:
        folder: the model.

    Returns:
        PNG files by their path in the repository, `pictures/<name>.png`. None where the data isn't this project's own,
        or where the folder isn't the end of a training run: those pictures would show something else.
    """
    # others' terms forbid to pass their images on (Cityscapes), or bind it to conditions (CamVid)
    facts = facts_of(folder.dataset)
    if facts is None or not facts.free_to_show:
        return {}
    run = folder.path.resolve().parent
    # metrics.jsonl tells a run's folder from somebody's home, whose "pictures" are private
    if not (run / "metrics.jsonl").is_file() or not _is_last(folder):
        return {}
    files = sorted((run / "pictures").glob("[!.]*.png"))  # not what macOS leaves beside them
    chosen = [files[round(i * (len(files) - 1) / max(COUNT - 1, 1))] for i in range(min(COUNT, len(files)))]
    return {f"pictures/{path.name}": _small_png(path) for path in chosen}


def _is_last(folder: ModelFolder) -> bool:
    """Whether these are the weights at the end of their run: it draws its pictures with them."""
    last = folder.field("schedule", "max_steps")
    return last is not None and (folder.metrics or {}).get("step") == last


def _small_png(path: Path) -> bytes:
    with Image.open(path) as image:
        image = image.convert("RGB")
        image.thumbnail((WIDTH, WIDTH))
        data = io.BytesIO()
        image.save(data, "PNG", optimize=True)
    return data.getvalue()
