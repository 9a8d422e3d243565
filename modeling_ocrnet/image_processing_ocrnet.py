# SPDX-License-Identifier: Apache-2.0
"""OCRNet's image processors: images to the model's input, and logits to label maps.

They use only public methods of transformers' torchvision and PIL backends.
"""

import inspect
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from huggingface_hub.dataclasses import validate_typed_dict
from PIL import Image, ImageOps
from transformers.image_processing_backends import PilBackend, TorchvisionBackend
from transformers.image_processing_outputs import SemanticSegmentationPostProcessorOutput
from transformers.image_processing_utils import BatchFeature, get_size_dict
from transformers.image_utils import (
    IMAGENET_DEFAULT_MEAN,
    IMAGENET_DEFAULT_STD,
    ChannelDimension,
    PILImageResampling,
    SizeDict,
    make_flat_list_of_images,
    validate_preprocess_arguments,
)
from transformers.processing_utils import ImagesKwargs
from transformers.utils import logging

from .pixels_ocrnet import SLACK, check_range, is_turned, pixel_layout, scale_values, to_range, to_rgb, unmap

logger = logging.get_logger(__name__)


class OCRNetImageProcessorKwargs(ImagesKwargs, total=False):
    r"""
    do_reduce_labels (`bool`, *optional*, defaults to `self.do_reduce_labels`):
        Subtract 1 from every label; 0 (a background that isn't a class) becomes `ignore_index`.
    do_flip_channel_order (`bool`, *optional*, defaults to `self.do_flip_channel_order`):
        Convert images to BGR, for weights that were trained on OpenCV's images. `image_mean` and `image_std` are in
        that order then.
    align_corners (`bool`, *optional*, defaults to `self.align_corners`):
        `align_corners` of the resize from logits to label maps; the same as the model's `config.align_corners`.
    value_range (`list[float]` or `int`, *optional*, defaults to `self.value_range`):
        The values of black and white in images with more than 8 bits per value, or their number of bits.
    ignore_index (`int`, *optional*, defaults to `self.ignore_index`):
        The label of unlabelled pixels, and of pixels that padding and cropping add.
    """

    do_reduce_labels: bool
    do_flip_channel_order: bool
    align_corners: bool
    value_range: list[int | float] | tuple[int | float, int | float] | int | None
    ignore_index: int


class _SegmentationProcessing:
    """What both backends share. Images keep their size by default (`do_resize=False`): OCRNet takes any size."""

    valid_kwargs = OCRNetImageProcessorKwargs
    resample = PILImageResampling.BILINEAR
    image_mean = IMAGENET_DEFAULT_MEAN
    image_std = IMAGENET_DEFAULT_STD
    size = {"height": 1024, "width": 2048}
    default_to_square = False
    do_resize = False
    do_rescale = True
    rescale_factor = 1 / 255
    do_normalize = True
    do_convert_rgb = True
    do_reduce_labels = False
    do_flip_channel_order = False
    align_corners = False
    value_range: list[int | float] | tuple[int | float, int | float] | int | None = None
    ignore_index = 255
    model_input_names = ["pixel_values"]

    def preprocess(self, images, segmentation_maps=None, return_tensors=None, device=None, **kwargs) -> BatchFeature:
        """Prepare images, and label maps if given.

        Args:
            images: one image or a list: PIL images, (height, width, 3) arrays or (3, height, width) tensors; uint8,
                uint16 (0..65535), or floats (0..255, or 0..1; `do_rescale=False` leaves 0..1 as it is).
            segmentation_maps: the same number of label maps, (height, width), 0..65535; `ignore_index` stays.
            return_tensors: `"pt"` returns tensors; all images must have the same size then. `None` returns lists.
            device: the device that prepares the images (torchvision).
            kwargs: fields of this class (`do_resize`, `size`, `image_mean` ...).

        Returns:
            A dict of `pixel_values`, (batch, 3, height, width) float32, and `labels`, (batch, height, width) int64.

        Raises:
            ValueError: if the values of black and white are unknown, a label isn't from 0 to 65535, or tensors are
                wanted of images of several sizes.
        """
        options = self.options(**kwargs)
        prepare = partial(
            self.process_image,
            do_convert_rgb=options["do_convert_rgb"],
            input_data_format=options["input_data_format"],
            device=device,
            value_range=options["value_range"],
            scale_floats=options["do_rescale"],
        )
        images = [prepare(x) for x in make_flat_list_of_images(self.fetch_images(images))]
        if options["do_flip_channel_order"]:
            images = [x[[2, 1, 0]] for x in images]  # (3, height, width)
        data = {"pixel_values": self.transform(images, options)}
        sizes = sorted({tuple(x.shape[-2:]) for x in data["pixel_values"]})
        if return_tensors is not None and len(sizes) > 1:
            raise ValueError(
                f"the images have {len(sizes)} sizes, such as {sizes[0]} and {sizes[-1]}, but a batch of tensors needs "
                "one: pass do_pad=True (pixels that it adds aren't labelled), do_resize=True and a size, or one image "
                "at a time"
            )
        if segmentation_maps is not None:
            ignore_index = options["ignore_index"]
            maps = make_flat_list_of_images(self.fetch_images(segmentation_maps), expected_ndims=2)
            maps = [self.process_image(x, input_data_format=ChannelDimension.FIRST) for x in maps]
            geometry = {**options, "do_normalize": False, "do_rescale": False, "resample": PILImageResampling.NEAREST}
            planes = self.transform([_to_planes(x, ignore_index) for x in maps], geometry)
            labels = [_from_planes(x, ignore_index) for x in planes]
            reduce_labels = options["do_reduce_labels"]
            data["labels"] = [_reduce(x, ignore_index) for x in labels] if reduce_labels else labels
        return BatchFeature(data=data, tensor_type=return_tensors)

    def options(self, **kwargs) -> dict:
        """All fields of this class; the arguments of a call take precedence over the processor's own values.

        Raises:
            TypeError, ValueError: if a field is unknown, or its value isn't valid.
        """
        validate_typed_dict(self.valid_kwargs, kwargs)
        options = {name: kwargs.get(name, getattr(self, name, None)) for name in self.valid_kwargs.__annotations__}
        for name in ("size", "crop_size", "pad_size"):
            if options[name] is not None and not isinstance(options[name], SizeDict):
                square = options["default_to_square"] if name == "size" else True
                options[name] = SizeDict(**get_size_dict(options[name], default_to_square=square, param_name=name))
        for name in ("image_mean", "image_std"):
            if isinstance(options[name], list):
                options[name] = tuple(options[name])
        checked = inspect.signature(validate_preprocess_arguments).parameters.keys() - {"do_pad", "pad_size"}
        validate_preprocess_arguments(**{name: options[name] for name in checked & options.keys()})
        to_range(options["value_range"])
        return options

    def transform(self, images: list, options: dict) -> list:
        """Resize, crop, normalise and pad images in the backend's form, (channels, height, width), by `options`."""
        done = []
        for image in images:
            if options["do_resize"]:
                image = self.resize(image, size=options["size"], resample=options["resample"])
            if options["do_center_crop"]:
                image = self.center_crop(image, options["crop_size"])
            names = ("do_rescale", "rescale_factor", "do_normalize", "image_mean", "image_std")
            done.append(self.rescale_and_normalize(image, **{name: options[name] for name in names}))
        return self.pad(done, pad_size=options["pad_size"]) if options["do_pad"] else done

    def process_image(self, image, do_convert_rgb=None, value_range=None, scale_floats=True, **kwargs):
        """One image in the backend's form, (channels, height, width). Both backends convert to RGB here."""
        if isinstance(image, Image.Image):
            layout = pixel_layout(image)  # before the image is decoded
            check_range(image, value_range)
            if is_turned(image):
                logger.warning_once(
                    "images are turned upright by their EXIF orientation: target_sizes must be the sizes of the turned "
                    "images, as PIL.ImageOps.exif_transpose returns them"
                )
            image = to_rgb(image, value_range) if do_convert_rgb else _upright_ids(image, layout)
        elif do_convert_rgb:
            image = _to_bytes(image, value_range, scale_floats)
        image = super().process_image(image, do_convert_rgb=do_convert_rgb, **kwargs)
        return image[[0, 0, 0]] if do_convert_rgb and image.shape[0] == 1 else image  # grey values in an array

    def post_process_semantic_segmentation(
        self, outputs, target_sizes=None, return_segmentation_scores: bool = False
    ) -> list[torch.Tensor] | list[SemanticSegmentationPostProcessorOutput]:
        """Convert the model's output to label maps.

        Args:
            outputs ([`OCRNetOutput`]): the output, with logits (batch, classes, h, w).
            target_sizes (`list[tuple[int, int]]`, *optional*): (height, width) of each label map; the logits' size by
                default.
            return_segmentation_scores: also return the logits at the label map's size, which are `classes` times as
                many numbers.

        Returns:
            A list of (height, width) int64 label maps. With scores, a list of outputs with two fields: `segmentation`,
            the label map, and `segmentation_scores`, (classes, height, width).

        Raises:
            ValueError: if the number of sizes isn't the batch size.
        """
        logits = outputs.logits
        sizes = [None] * len(logits) if target_sizes is None else target_sizes
        if len(sizes) != len(logits):
            raise ValueError(f"{len(sizes)} target sizes for a batch of {len(logits)}")
        results = []
        for scores, size in zip(logits, sizes, strict=True):
            if size is not None:
                options = {"size": tuple(map(int, size)), "mode": "bilinear", "align_corners": self.align_corners}
                scores = F.interpolate(scores[None].float(), **options)[0]
            label_map = scores.max(dim=0).indices  # argmax, but faster on a CPU
            data = {"segmentation": label_map, "segmentation_scores": scores}
            results.append(SemanticSegmentationPostProcessorOutput(data) if return_segmentation_scores else label_map)
        return results

    def to_dict(self) -> dict:
        """As the base class, but a saved `auto_map` names the classes of both backends: PIL's, then torchvision's."""
        fields = super().to_dict()
        classes = (OCRNetImageProcessorPil, OCRNetImageProcessor)
        if "auto_map" in fields and type(self) in classes:  # a class derived from them is saved as itself
            module = type(self).__module__.rpartition(".")[2]
            fields["auto_map"] = {"AutoImageProcessor": [f"{module}.{x.__name__}" for x in classes]}
        return fields


def _to_bytes(image, value_range, scale_floats: bool):
    """Scale an array or a tensor to 0..255, as [`scale_values`] does."""
    is_tensor = isinstance(image, torch.Tensor)
    values = image.cpu().numpy() if is_tensor else np.asarray(image)
    is_float = values.dtype.kind == "f"
    if values.dtype == np.uint8 or is_float and not scale_floats:
        return image
    if is_float and value_range is None and values.max(initial=0) <= 1 + SLACK:
        logger.warning_once(
            "floats up to 1 are read as 0 to 1, not as 0 to 255: pass do_rescale=False if they are already rescaled, "
            "or a value_range"
        )
    scaled = scale_values(values, value_range)
    return torch.from_numpy(scaled).to(image.device) if is_tensor else scaled


def _upright_ids(mask: Image.Image, layout: str) -> Image.Image:
    """A label map's ids as in its file, turned upright by its EXIF. Pillow stretches 2-bit and 4-bit greys: undo it."""
    step = {"L;2": 85, "L;4": 17}.get(layout, 1)
    if is_turned(mask):
        unmap(mask)
        mask = ImageOps.exif_transpose(mask)
    return mask if step == 1 else mask.point(lambda value: value // step)


def _to_planes(label_map, ignore_index: int):
    """A label map (1, height, width) as three uint8 planes, (3, height, width): the labels' low and high bytes, and 1
    for labelled pixels.

    Both backends move bytes without rounding. The third plane is 0 at pixels that they add.
    """
    is_tensor = isinstance(label_map, torch.Tensor)
    labels = label_map.cpu().numpy() if is_tensor else label_map  # torch has few operations on uint16
    if labels.ndim != 3 or labels.shape[0] != 1:
        raise ValueError(
            f"a label map of {labels.shape[1:]} has {labels.shape[0]} channels, expected one channel of ids"
        )
    known = labels != ignore_index
    lowest, highest = (f(where=known, initial=0) for f in (labels.min, labels.max))
    if labels.dtype.kind not in "bui" or lowest < 0 or highest >= 2**16:
        found = f"{labels.dtype} from {lowest} to {highest}"
        raise ValueError(f"a label map holds {found}, expected integers from 0 to 65535, or ignore_index")
    labels = np.where(known, labels, 0).astype(np.int32)
    planes = np.concatenate([labels & 255, labels >> 8, known]).astype(np.uint8)
    return torch.from_numpy(planes).to(label_map.device) if is_tensor else planes


def _from_planes(planes, ignore_index: int) -> torch.Tensor:
    """The label map, (height, width) int64, of [`_to_planes`]; unlabelled pixels are `ignore_index`."""
    low, high, known = torch.as_tensor(planes).to(torch.int64)
    return torch.where(known == 1, low + (high << 8), ignore_index)


def _reduce(labels: torch.Tensor, ignore_index: int) -> torch.Tensor:
    return torch.where((labels == 0) | (labels == ignore_index), ignore_index, labels - 1)


class OCRNetImageProcessor(_SegmentationProcessing, TorchvisionBackend):
    """OCRNet's image processor, with the torchvision backend."""


class OCRNetImageProcessorPil(_SegmentationProcessing, PilBackend):
    """The same with PIL and numpy, for environments without torchvision."""

    def rescale_and_normalize(self, image, do_rescale, rescale_factor, do_normalize, image_mean, image_std):
        """As the torchvision backend's method of this name."""
        if do_rescale:
            image = self.rescale(image, rescale_factor)
        return self.normalize(image, image_mean, image_std) if do_normalize else image


__all__ = ["OCRNetImageProcessor", "OCRNetImageProcessorPil"]
