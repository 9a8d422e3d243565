"""What each augmentation of a recipe's list takes, for the same crops in turn."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch

from modeling_ocrnet import data
from modeling_ocrnet.common.errors import UserError
from modeling_ocrnet.common.tables import text_table
from modeling_ocrnet.data.augmentations import AUGMENTATIONS, augment, for_classes, read_augmentations
from modeling_ocrnet.data.map_style import TrainingDataset
from modeling_ocrnet.data.normalization import Normalization
from modeling_ocrnet.data.transforms import TrainingTransform

from .noisy_frames import write_noisy_frames
from .paired import by_contender, run_rounds

SMALL = ["person", "rider", "traffic light", "traffic sign", "bicycle", "motorcycle"]
WHOLE = "a sample without any, from PNG"


def augmentations_benchmark(crop_size: tuple[int, int] = (512, 1024), crops: int = 8, rounds: int = 5) -> None:
    """Milliseconds of a core that each augmentation takes on a crop, with its defaults and probability 1.

    A whole training sample without any stands beside them. One process has one thread; other programs' work doesn't
    count.

    Args:
        crop_size: Height and width of the crops, of 1024x2048 frames at their own scale.
        crops: Number of crops, each of a frame of its own.
        rounds: Rounds; each times everything once.
    """
    if min(*crop_size, crops, rounds) < 1:
        raise UserError("crop_size, crops and rounds must be positive")
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    with tempfile.TemporaryDirectory() as folder:
        frames = write_noisy_frames(Path(folder), crops)
        stream = TrainingDataset(
            data.load("cityscapes", frames, "train"), TrainingTransform(crop_size, (2048, 1024)), 0
        )
        cut = [_cut(stream, row, crop_size) for row in range(crops)]
        contenders: dict[str, Callable[[], dict]] = {name: partial(_time, name, cut) for name in AUGMENTATIONS}
        contenders[WHOLE] = partial(_time_samples, stream, crops)
        times = by_contender(run_rounds(contenders, rounds, warm_up=1), "milliseconds")
    rows = [("augmentation", "ms", "lowest", "highest")]
    rows += [(name, *(f"{f(x):.1f}" for f in (statistics.median, min, max))) for name, x in times.items()]
    print(text_table(rows, numbers=True))


def _cut(stream: TrainingDataset, row: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The middle of a frame and of its labels."""
    image, label = (np.asarray(stream.dataset[row][key]) for key in ("image", "label"))
    top, left = ((have - want) // 2 for have, want in zip(label.shape, size, strict=True))
    window = slice(top, top + size[0]), slice(left, left + size[1])
    return image[window], label[window]


def _time(name: str, cut: list[tuple[np.ndarray, np.ndarray]]) -> dict:
    entry = {"name": name, "probability": 1, **({"classes": SMALL} if name == "paste" else {})}
    augmentations = for_classes(read_augmentations([entry]), data.label_set("cityscapes"))
    rng = np.random.default_rng(0)
    start = time.process_time()
    for image, label in cut:
        augment(augmentations, image, label, rng, Normalization().zero)
    return {"milliseconds": 1000 * (time.process_time() - start) / len(cut)}


def _time_samples(stream: TrainingDataset, count: int) -> dict:
    start = time.process_time()
    for position in range(count):
        stream[position]
    return {"milliseconds": 1000 * (time.process_time() - start) / count}
