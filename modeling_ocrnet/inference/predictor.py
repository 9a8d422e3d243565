"""An image in, a label map out, as fast as the machine allows."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from accelerate import PartialState
from PIL import Image

from ..common.runtime import disable_malloc_trim
from ..data.decoding import ValueRange, read_image
from ..data.pillow_quirks import check_tiff_is_read_whole
from ..data.value_ranges import check_value_range
from ..modeling_ocrnet import OCRNetForSemanticSegmentation
from ..pixels_ocrnet import from_array, to_rgb
from .engines.compiled import compiled
from .engines.engine import EngineName, Export
from .engines.precision import Precision, fast_precision
from .loading import load_engine
from .segmentation import InferenceOptions, segment

ImageLike = Image.Image | np.ndarray | str | Path


class Predictor:
    """Segments images: `Predictor("runs/street_scenes/model")("street.png")`. May be called from several threads.

    Args:
        name: a checkpoint folder, a folder that `scripts/export.py` wrote, or a Hub repository.
        engine: what runs the network; see [`load_engine`].
        precision: "auto" is bf16 where the device has instructions for it and fp32 elsewhere; of an export, its own.
        options: sliding window, scales, mirrors, batch size; whole images, one at a time, by default.
        value_range: black and white in images of more than 8 bits, see [`to_rgb`]; the checkpoint's by default.

    Raises:
        ValueError: where there is no such checkpoint, or it can't be loaded; for a range that is none.
    """

    def __init__(
        self,
        name: str | Path,
        engine: EngineName = "auto",
        precision: Precision | Literal["auto"] = "auto",
        options: InferenceOptions | None = None,
        value_range: ValueRange = None,
    ):
        check_value_range(value_range)
        disable_malloc_trim()
        if precision == "auto":
            precision = None if Export.read(Path(name)) else fast_precision(PartialState().device)
        self.model, self.processor = load_engine(str(name), engine, precision)
        self.options = options or InferenceOptions()
        if value_range is not None:
            self.processor.value_range = value_range

    def __call__(self, images: ImageLike | list[ImageLike]) -> np.ndarray | list[np.ndarray]:
        """Segment an image, or each of a list.

        Args:
            images: PIL images, which are turned as their EXIF says; paths; arrays (height, width, 3) of RGB, (height,
                width) of greys, or with a fourth channel of opacity: uint8 or uint16, see [`scale_values`].

        Returns:
            (height, width) class indices, uint8 (uint16 for more than 255 classes); a list of them for a list.

        Raises:
            DataError: for a file that can't be read.
            ValueError: for an array of another kind.
        """
        if not isinstance(images, list):
            return self([images])[0]
        step = self.options.batch_size
        chunks = (
            [as_image(x, self.processor.value_range) for x in images[i : i + step]] for i in range(0, len(images), step)
        )
        return [x for chunk in chunks for x in segment(self.model, self.processor, chunk, self.options)]

    def warmup(self, size: tuple[int, int], compile: bool = True) -> Predictor:
        """Do beforehand what the first image would have to wait for.

        Args:
            size: height and width of an image to come.
            compile: compile the network first: half a minute with OpenVINO, minutes without, but only once for a model
                on a machine (see [`compiled`]).

        Returns:
            Itself: `predictor = Predictor(folder).warmup((512, 1024))`.
        """
        if compile and isinstance(self.model, OCRNetForSemanticSegmentation):
            self.model = compiled(self.model)
        self(np.zeros((*size, 3), np.uint8))
        return self


def as_image(image: ImageLike, value_range: ValueRange = None) -> Image.Image:
    """Any kind of image as PIL's, RGB: upright and on white, as `scripts/predict.py` reads files."""
    if isinstance(image, Image.Image):
        check_tiff_is_read_whole(image, getattr(image, "filename", None) or "the image")
        return to_rgb(image, value_range)
    if isinstance(image, np.ndarray):
        return from_array(image, value_range)
    return read_image({"path": str(image), "bytes": None}, value_range)
