# SPDX-License-Identifier: Apache-2.0
"""From images to OCRNet's input and from its logits to label maps, by public methods of transformers' backends."""

import inspect
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from huggingface_hub.dataclasses import validate_typed_dict
from PIL import Image, ImageOps
from transformers.image_processing_backends import PilBackend, TorchvisionBackend
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
        Take 1 from every label, and make 0 (a background that isn't a class) `ignore_index`.
    do_flip_channel_order (`bool`, *optional*, defaults to `self.do_flip_channel_order`):
        Give the model BGR; `image_mean` and `image_std` are then in that order. For weights trained on OpenCV's images.
    align_corners (`bool`, *optional*, defaults to `self.align_corners`):
        Of the resize from logits to label maps; as `config.align_corners` of the model.
    value_range (`list[float]` or `int`, *optional*, defaults to `self.value_range`):
        The values that are black and white, or a number of bits, in images of more than 8 bits a value.
    ignore_index (`int`, *optional*, defaults to `self.ignore_index`):
        The label of pixels that aren't labelled, and of those that padding and cropping add.
    """

    do_reduce_labels: bool
    do_flip_channel_order: bool
    align_corners: bool
    value_range: list[int | float] | tuple[int | float, int | float] | int | None
    ignore_index: int


class _SegmentationProcessing:
    """What both backends share. Images keep their size unless `do_resize=True`: OCRNet takes any."""

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
    value_range = None
    ignore_index = 255
    model_input_names = ["pixel_values"]

    def preprocess(self, images, segmentation_maps=None, return_tensors=None, device=None, **kwargs) -> BatchFeature:
        """Prepare images, and label maps if there are any.

        Args:
            images: one image or a list: PIL, (height, width, 3) arrays or (3, height, width) tensors; uint8, uint16
                (0..65535), or floats (0..255, or 0..1, which `do_rescale=False` leaves alone).
            segmentation_maps: the same number of label maps, (height, width), 0..65535; `ignore_index` stays.
            return_tensors: `"pt"` for tensors: all images must have one size then. Without it there are lists.
            device: where images are to be prepared (torchvision).
            kwargs: any field of this class (`do_resize`, `size`, `image_mean` ...).

        Returns:
            A dict of `pixel_values`, (batch, 3, height, width) float32, and `labels`, (batch, height, width) int64.

        Raises:
            ValueError: for pixels whose black and white can't be told, and for labels other than 0 to 65535.
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
        if segmentation_maps is not None:
            ignore_index = options["ignore_index"]
            maps = make_flat_list_of_images(self.fetch_images(segmentation_maps), expected_ndims=2)
            maps = [self.process_image(x, input_data_format=ChannelDimension.FIRST) for x in maps]
            geometry = {**options, "do_normalize": False, "do_rescale": False, "resample": self.nearest}
            planes = self.transform([_to_planes(x, ignore_index) for x in maps], geometry)
            labels = [_from_planes(x, ignore_index) for x in planes]
            reduce_labels = options["do_reduce_labels"]
            data["labels"] = [_reduce(x, ignore_index) for x in labels] if reduce_labels else labels
        return BatchFeature(data=data, tensor_type=return_tensors)

    def options(self, **kwargs) -> dict:
        """All fields of this class, with those that a call gives instead of the processor's own.

        Raises:
            TypeError, ValueError: for fields that there aren't, and values that they can't have.
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
        """Resize, crop, normalise and pad images in the backend's form, (channels, height, width), as options say."""
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
        """One image in the backend's form, (channels, height, width). RGB is made here, for all backends alike."""
        if isinstance(image, Image.Image):
            layout = pixel_layout(image)  # while nothing has decoded it
            check_range(image, value_range)
            if is_turned(image):
                logger.warning_once(
                    "Images are turned as their EXIF says: target_sizes must be those of the turned images, as "
                    "PIL.ImageOps.exif_transpose gives them"
                )
            image = to_rgb(image, value_range) if do_convert_rgb else _upright_ids(image, layout)
        elif do_convert_rgb:
            image = _to_bytes(image, value_range, scale_floats)
        return super().process_image(image, do_convert_rgb=do_convert_rgb, **kwargs)

    def post_process_semantic_segmentation(self, outputs, target_sizes=None) -> list[torch.Tensor]:
        """Label maps from the model's output.

        Args:
            outputs ([`OCRNetOutput`]): with logits (batch, classes, h, w).
            target_sizes (`list[tuple[int, int]]`, *optional*): (height, width) of each label map; the logits' own by
                default.

        Returns:
            A list of (height, width) int64 label maps.

        Raises:
            ValueError: if the number of sizes isn't the batch size.
        """
        logits = outputs.logits
        if target_sizes is None:
            return list(logits.argmax(dim=1))
        if len(target_sizes) != len(logits):
            raise ValueError(f"{len(target_sizes)} target sizes for a batch of {len(logits)}")
        resize = partial(F.interpolate, mode="bilinear", align_corners=self.align_corners)
        return [
            resize(x[None].float(), size=tuple(map(int, size)))[0].max(dim=0).indices  # argmax, but faster on a CPU
            for x, size in zip(logits, target_sizes, strict=True)
        ]


def _to_bytes(image, value_range, scale_floats: bool):
    """An array or a tensor whose values are 0..255, as [`scale_values`] makes them."""
    is_tensor = isinstance(image, torch.Tensor)
    values = image.cpu().numpy() if is_tensor else np.asarray(image)
    is_float = values.dtype.kind == "f"
    if values.dtype == np.uint8 or is_float and not scale_floats:
        return image
    if is_float and value_range is None and values.max(initial=0) <= 1 + SLACK:
        logger.warning_once(
            "Floats up to 1 are taken as 0 to 1, not as 0 to 255: give do_rescale=False if you have rescaled them, or "
            "a value_range"
        )
    scaled = scale_values(values, value_range)
    return torch.from_numpy(scaled).to(image.device) if is_tensor else scaled


def _upright_ids(mask: Image.Image, layout: str) -> Image.Image:
    """A label map as its file holds it, also if Pillow stretches greys of 2 and 4 bits; turned as its EXIF says."""
    step = {"L;2": 85, "L;4": 17}.get(layout, 1)
    if is_turned(mask):
        unmap(mask)
        mask = ImageOps.exif_transpose(mask)
    return mask if step == 1 else mask.point(lambda value: value // step)


def _to_planes(label_map, ignore_index: int):
    """A label map (1, height, width) as three planes of bytes, (3, height, width): its values, low and high, and
    whether they count.

    In bytes both backends move pixels exactly, and the third plane is 0 where they add some.
    """
    is_tensor = isinstance(label_map, torch.Tensor)
    labels = label_map.cpu().numpy() if is_tensor else label_map  # torch computes little on uint16
    if labels.ndim != 3 or labels.shape[0] != 1:
        raise ValueError(
            f"a label map of {labels.shape[1:]} and {labels.shape[0]} channels, expected one channel of ids"
        )
    known = labels != ignore_index
    lowest, highest = (f(where=known, initial=0) for f in (labels.min, labels.max))
    if labels.dtype.kind not in "bui" or lowest < 0 or highest >= 2**16:
        found = f"{labels.dtype} from {lowest} to {highest}"
        raise ValueError(f"a label map of {found}, expected whole numbers from 0 to 65535, or ignore_index")
    labels = np.where(known, labels, 0).astype(np.int32)
    planes = np.concatenate([labels & 255, labels >> 8, known]).astype(np.uint8)
    return torch.from_numpy(planes).to(label_map.device) if is_tensor else planes


def _from_planes(planes, ignore_index: int) -> torch.Tensor:
    """The label map (height, width) int64 of [`_to_planes`], with `ignore_index` where nothing counts."""
    low, high, known = torch.as_tensor(planes).to(torch.int64)
    return torch.where(known == 1, low + (high << 8), ignore_index)


def _reduce(labels: torch.Tensor, ignore_index: int) -> torch.Tensor:
    return torch.where((labels == 0) | (labels == ignore_index), ignore_index, labels - 1)


class OCRNetImageProcessor(_SegmentationProcessing, TorchvisionBackend):
    """OCRNet's image processor (torchvision)."""

    @property
    def nearest(self):
        from torchvision.transforms import InterpolationMode

        return InterpolationMode.NEAREST_EXACT  # PIL's rule; plain NEAREST picks other pixels


class OCRNetImageProcessorPil(_SegmentationProcessing, PilBackend):
    """The same on PIL and numpy, for environments without torchvision."""

    nearest = PILImageResampling.NEAREST

    def rescale_and_normalize(self, image, do_rescale, rescale_factor, do_normalize, image_mean, image_std):
        """What the torchvision backend has under this name."""
        if do_rescale:
            image = self.rescale(image, rescale_factor)
        return self.normalize(image, image_mean, image_std) if do_normalize else image


__all__ = ["OCRNetImageProcessor", "OCRNetImageProcessorPil"]
