"""An image in, a label map out, as fast as the machine allows."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from accelerate import PartialState
from PIL import Image

from ..data.decoding import read_image, to_rgb
from ..fusion_ocrnet import FusedOCRNet
from .checkpoint import load_engine
from .compiled import compiled
from .engines import EngineName, Export
from .memory import keep_freed_memory
from .precision import Precision, fast_precision
from .segmentation import Inference, segment

ImageLike = Image.Image | np.ndarray | str | Path


class Predictor:
    """Segments images: `Predictor("runs/street_scenes/model")("street.png")`. May be called from several threads.

    Args:
        name: a checkpoint folder, a folder that `scripts/export.py` wrote, or a Hub repository.
        engine: what runs the network; see [`load_engine`].
        precision: "auto" is bf16 where the device has instructions for it and fp32 elsewhere; of an export, its own.
        options: sliding window, scales, mirrors, batch size; whole images, one at a time, by default.

    Raises:
        ValueError: where there is no such checkpoint, or it can't be loaded.
    """

    def __init__(
        self,
        name: str | Path,
        engine: EngineName = "auto",
        precision: Precision | Literal["auto"] = "auto",
        options: Inference | None = None,
    ):
        keep_freed_memory()
        if precision == "auto":
            precision = None if Export.read(Path(name)) else fast_precision(PartialState().device)
        self.model, self.processor = load_engine(str(name), engine, precision)
        self.options = options or Inference()

    def __call__(self, images: ImageLike | list[ImageLike]) -> np.ndarray | list[np.ndarray]:
        """Segment an image, or each of a list.

        Args:
            images: PIL images; paths; arrays (height, width, 3) of RGB, uint8, (height, width) of greys, or with a
                fourth channel of opacity.

        Returns:
            (height, width) uint8 class indices; a list of them for a list.

        Raises:
            DataError: for a file that can't be read.
            ValueError: for an array of another kind.
        """
        if not isinstance(images, list):
            return self([images])[0]
        step = self.options.batch_size
        chunks = (map(as_image, images[i : i + step]) for i in range(0, len(images), step))
        return [x for chunk in chunks for x in segment(self.model, self.processor, list(chunk), self.options)]

    def warmup(self, size: tuple[int, int], compile: bool = True) -> Predictor:
        """Do beforehand what the first image would have to wait for.

        Args:
            size: height and width of an image to come.
            compile: compile the network first: half a minute with OpenVINO, minutes without, but only once for a model
                on a machine (see [`compiled`]).

        Returns:
            Itself: `predictor = Predictor(folder).warmup((512, 1024))`.
        """
        if compile and isinstance(self.model, FusedOCRNet):
            self.model = compiled(self.model)
        self(np.zeros((*size, 3), np.uint8))
        return self


def as_image(image: ImageLike) -> Image.Image:
    """Any kind of image as PIL's, RGB: files upright and on white, as `scripts/predict.py` reads them."""
    if isinstance(image, Image.Image):
        return to_rgb(image)
    if not isinstance(image, np.ndarray):
        return read_image({"path": str(image), "bytes": None})
    if image.dtype != np.uint8 or not (image.ndim == 2 or image.ndim == 3 and image.shape[2] in (3, 4)):
        raise ValueError(
            f"an array of {image.dtype}, {image.shape}: expected uint8, (height, width, 3), or Image.open's result"
        )
    return to_rgb(Image.fromarray(image))
