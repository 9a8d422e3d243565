"""Segment images in a program."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from accelerate import PartialState

from ..common.runtime import disable_malloc_trim
from ..data.decoding import ValueRange
from ..data.image_headers import MAX_PIXELS, check_max_pixels
from ..data.value_ranges import check_value_range
from ..modeling_ocrnet import OCRNetForSemanticSegmentation
from .engines.compiled import compiled
from .engines.engine import EngineName, Export
from .engines.precision import Precision, fast_precision
from .images import ImageLike, as_image
from .loading import load_engine
from .segmentation import InferenceOptions, segment


class Predictor:
    """Segments images. Several threads may call it.

    Args:
        name: a checkpoint folder, an export's folder (`ocrnet export`), or a Hub repository.
        engine: the engine that runs the network; see [`load_engine`].
        precision: "auto" means bf16 if the device has instructions for it, fp32 otherwise; an export keeps its own.
        options: sliding window, scales, mirrors, batch size; whole images, one at a time, by default.
        value_range: the values of black and white in images with more than 8 bits, see [`to_rgb`]; the checkpoint's
            by default.
        max_pixels: the most pixels that a path's or an encoded image may have. Larger ones are refused before they are
            decoded, because a small file can claim any size.

    Raises:
        ValueError: if there is no such checkpoint, it can't be loaded, or the range or the limit isn't valid.

    Example:

    >>> from modeling_ocrnet.inference import Predictor

    >>> predictor = Predictor("runs/street_scenes/model")
    >>> label_map = predictor("street.png")  # 1024 x 512 pixels
    >>> label_map.shape, str(label_map.dtype)  # (height, width) of class indices
    ((512, 1024), 'uint8')
    >>> label_maps = predictor(["street.png", "street.png"])
    >>> len(label_maps)
    2
    """

    def __init__(
        self,
        name: str | Path,
        engine: EngineName = "auto",
        precision: Precision | Literal["auto"] = "auto",
        options: InferenceOptions | None = None,
        value_range: ValueRange = None,
        max_pixels: int = MAX_PIXELS,
    ):
        check_value_range(value_range)
        check_max_pixels(max_pixels)
        disable_malloc_trim()
        wanted = precision if precision != "auto" else None
        if precision == "auto" and not Export.read(Path(name)):
            wanted = fast_precision(PartialState().device)
        self.model, self.processor = load_engine(str(name), engine, wanted)
        self.options, self.max_pixels = options or InferenceOptions(), max_pixels
        if value_range is not None:
            self.processor.value_range = value_range

    def __call__(self, images: ImageLike | list[ImageLike] | tuple[ImageLike, ...]) -> np.ndarray | list[np.ndarray]:
        """Segment one image, or a list of images.

        Args:
            images: one of these, or a list or a tuple of them: a path; an encoded image, as bytes or as a file opened
                in binary mode; a PIL image, which is turned upright by its EXIF; an array, (height, width) greys,
                (height, width, 3) RGB or (height, width, 4) RGBA; a tensor, (3, height, width), (height, width, 3) or
                (height, width). Arrays and tensors hold uint8 or uint16 (see [`scale_values`]), or floats if there is a
                `value_range`.

        Returns:
            (height, width) class indices, uint8 (uint16 for more than 255 classes). For a list, a list of them, which
            is empty if the list is.

        Raises:
            DataError: if a file or its bytes can't be read, or have too many pixels.
            ValueError: if it is none of these, has no pixels, or has another shape or dtype.
        """
        if not isinstance(images, list | tuple):
            return self([images])[0]
        step = self.options.batch_size
        chunks = (
            [as_image(x, self.processor.value_range, self.max_pixels) for x in images[i : i + step]]
            for i in range(0, len(images), step)
        )
        return [x for chunk in chunks for x in segment(self.model, self.processor, chunk, self.options)]

    def warmup(self, size: tuple[int, int], compile: bool = True) -> Predictor:
        """Compile the network and segment an empty image, so that the first image is as fast as the next ones.

        Args:
            size: height and width of the images to expect.
            compile: compile the network: half a minute with OpenVINO, minutes without. The result is cached for each
                model and machine (see [`compiled`]).

        Returns:
            The predictor itself: `predictor = Predictor(folder).warmup((512, 1024))`.
        """
        if compile and isinstance(self.model, OCRNetForSemanticSegmentation):
            self.model = compiled(self.model)
        self(np.zeros((*size, 3), np.uint8))
        return self
