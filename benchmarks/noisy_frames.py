"""Frames for benchmarks: street scenes of Cityscapes' size with sensor noise, in files as large as photographs."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from modeling_ocrnet import data
from street_scenes import write_street_scenes

FRAMES = "frames"


def write_noisy_frames(root: Path, count: int) -> Path:
    """Write `count` training frames, 1024x2048 PNGs of about 2.5 MB, with label ids and train ids.

    The scenes have more noise than a camera's images. It is removed, and a little sensor noise is added.

    Args:
        root: an existing folder; the frames are written to a new folder in it.
        count: number of frames.

    Returns:
        A root for the dataset `cityscapes`.
    """
    frames = root / FRAMES
    write_street_scenes(frames, train=count, val=1, size=(1024, 2048))
    for number, path in enumerate(sorted((frames / "leftImg8bit").rglob("*.png"))):
        noise = np.random.default_rng(number).standard_normal((1024, 2048, 1))
        smooth = cv2.medianBlur(np.asarray(Image.open(path)), 5)
        Image.fromarray((smooth + noise).round().clip(0, 255).astype(np.uint8)).save(path)
    table = data.label_set("cityscapes").to_train_ids.astype(np.uint8)
    for path in (frames / "gtFine").rglob("*_labelIds.png"):  # other pipelines read train ids
        train_ids = Image.fromarray(table[np.asarray(Image.open(path))])
        train_ids.save(path.with_name(path.name.replace("labelIds", "labelTrainIds")))
    return frames
