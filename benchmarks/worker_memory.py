"""Measures the unshared memory of a data worker for datasets of different sizes."""

from __future__ import annotations

import os
import tempfile

import cv2
from datasets import Dataset, Features, Image, Value
from PIL import Image as PILImage

from modeling_ocrnet import data
from modeling_ocrnet.data.decoding import Decode
from modeling_ocrnet.data.map_style import TrainingDataset
from modeling_ocrnet.data.transforms import TrainingTransform


def worker_memory(sizes: tuple[int, ...] = (1_000, 100_000), reads: int = 200) -> dict[int, float]:
    """The unshared memory of a forked worker in MB, by the number of rows of its dataset.

    Memory that it shares with its parent isn't counted, because that exists only once.
    """
    features = Features(image=Image(decode=False), label=Image(decode=False), name=Value("string"))
    decode = Decode(data.label_set("cityscapes"))
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        image, label = f"{folder}/image.png", f"{folder}/label.png"
        PILImage.new("RGB", (64, 32)).save(image)
        PILImage.new("L", (64, 32), 7).save(label)
        for rows in sizes:
            names = [f"{i:012d}" for i in range(rows)]
            columns = {"image": [image] * rows, "label": [label] * rows, "name": names}
            dataset = Dataset.from_dict(columns, features=features).with_transform(decode)
            del columns, names
            found[rows] = _own_memory(TrainingDataset(dataset, TrainingTransform((32, 64), (64, 32)), 0), reads)
    return found


def _own_memory(stream: TrainingDataset, reads: int) -> float:
    """The unshared memory of a forked child in MB, after it has read from all parts of the dataset."""
    import psutil

    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            cv2.setNumThreads(0)  # threads don't survive a fork
            for position in range(0, len(stream.dataset), max(1, len(stream.dataset) // reads)):
                stream[position]
            os.write(send, str(psutil.Process().memory_full_info().uss).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(send)
    with os.fdopen(receive) as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return int(answer) / 2**20
