"""From images to OCRNet's input and from its logits to label maps.

All entries make RGB of what they are given by this file's rules: [`to_rgb`] for PIL's images and for files,
[`scale_values`] for the numbers in arrays.
"""

from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from transformers.image_processing_backends import PilBackend, TorchvisionBackend
from transformers.image_processing_utils import BatchFeature
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, ChannelDimension, PILImageResampling
from transformers.processing_utils import ImagesKwargs
from transformers.utils import logging

logger = logging.get_logger(__name__)

ORIENTATION = 0x0112  # EXIF's tag: 1 upright, 2 to 8 mirrored or turned
SLACK = 0.01  # by which rounding may have taken floats out of 0..1 or 0..255


def to_range(value_range) -> tuple[float, float] | None:
    """The values that are black and white: from `(low, high)`, or from a number of bits, 12 for 0 to 4095.

    Raises:
        ValueError: for anything else.
    """
    if value_range is None:
        return None
    given = value_range
    if isinstance(value_range, int):
        value_range = (0, 2**value_range - 1) if value_range in range(1, 33) and value_range is not True else (0, 0)
    low, high = value_range
    if not low < high < float("inf") or low == -float("inf"):
        raise ValueError(f"value_range is {given}, expected two numbers in order, or 1 to 32 bits")
    return float(low), float(high)


def scale_values(values: np.ndarray, value_range=None) -> np.ndarray:
    """Pixels of any type to 0..255: uint8 as it is, uint16 from 0..65535, floats from 0..1 or 0..255, whichever fits.

    Args:
        values: of any shape.
        value_range: what [`to_range`] takes: the values that are black and white in anything but uint8.

    Returns:
        uint8; of floats float32, not rounded.

    Raises:
        ValueError: for values that such a range can't be told of.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype == bool:
        return values.astype(np.uint8) * np.uint8(255)
    is_float = values.dtype.kind == "f"
    if values.dtype.kind not in "fui":
        raise ValueError(f"pixels of {values.dtype}, expected whole numbers or floats")
    lowest, highest = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    if not np.isfinite([lowest, highest]).all():
        raise ValueError("pixels that are NaN or infinite: replace them")
    low, high = to_range(value_range) or (0.0, _top(values.dtype, lowest, highest))
    scaled = ((values.astype(np.float32) - np.float32(low)) * np.float32(255 / (high - low))).clip(0, 255)
    return scaled if is_float else scaled.round().astype(np.uint8)


def _top(dtype: np.dtype, lowest: float, highest: float) -> float:
    """White, where nobody said what it is."""
    if dtype == np.uint16:
        return 65535.0
    tops, slack = ((1.0, 255.0), SLACK) if dtype.kind == "f" else ((255.0,), 0.0)
    for top in tops:
        if lowest >= -slack * top and highest <= (1 + slack) * top:
            return top
    expected = "0 to 1 or 0 to 255" if dtype.kind == "f" else "0 to 255 (uint16: 0 to 65535)"
    raise ValueError(
        f"pixels of {dtype} from {lowest:g} to {highest:g}, expected {expected}: say which values are black and white "
        f"by value_range, [{lowest:g}, {highest:g}] perhaps"
    )


def orientation(image: Image.Image) -> int:
    """EXIF's: 1 upright, 2 to 4 mirrored or upside down, 5 to 8 on its side; a value that is none counts as upright."""
    found = image.getexif().get(ORIENTATION, 1)
    return found if found in range(1, 9) else 1


def is_turned(image: Image.Image) -> bool:
    """Whether EXIF says that an image is to be mirrored or turned before a person looks at it."""
    return orientation(image) != 1


def is_wide_color(image: Image.Image) -> bool:
    """Whether an image that is opened, but not decoded, holds 16-bit colours: Pillow reads their upper 8 bits."""
    return len(image.getbands()) > 1 and ";16" in _layout(image)


def check_range(image: Image.Image, value_range) -> None:
    """Refuse a range for what it can't be told of.

    Args:
        image: opened, but not decoded.
        value_range: what [`to_range`] takes.

    Raises:
        ValueError: for 16-bit colours.
    """
    if value_range is not None and is_wide_color(image):
        raise ValueError(
            "16-bit colours, which are read by their upper 8 bits: no value_range can be told of them; scale them to 8 "
            "bits instead"
        )


def _layout(image: Image.Image) -> str:
    """How a file that isn't decoded yet lays out its pixels, in Pillow's words."""
    arguments = image.tile[0][3] if getattr(image, "tile", None) else ""
    return str(arguments if isinstance(arguments, str) or not arguments else arguments[0])


def unmap(image: Image.Image) -> None:
    """Have Pillow read a file's pixels, not map them: it scrambles the rows of mapped TIFFs that EXIF turns."""
    if image.format == "TIFF":
        image.filename = ""


def to_rgb(image: Image.Image, value_range=None) -> Image.Image:
    """8-bit RGB from any PIL image, as a person sees it: upright where EXIF says so, on white where it is transparent.

    `convert("RGB")` alone would clip greys of more than 8 bits, and show what alpha hides.

    Args:
        value_range: what [`to_range`] takes: black and white in pictures of more than 8 bits; the whole of 16 bits by
            default, of floats 0..1 or 0..255.

    Raises:
        ValueError: for values that such a range can't be told of.
    """
    check_range(image, value_range)
    if is_turned(image):
        unmap(image)
        image = ImageOps.exif_transpose(image)
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        grey = np.asarray(image)
        if image.mode == "I" and image.format in ("PNG", "PPM"):  # what Pillow reads of 16 bits
            grey = grey.astype(np.uint16)
        scaled = scale_values(grey, value_range)
        image = Image.fromarray(scaled.round().astype(np.uint8))
    elif image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")


def from_array(array: np.ndarray, value_range=None) -> Image.Image:
    """8-bit RGB of an array of greys (height, width), or colours (height, width, 3), with opacity (height, width, 4).

    Raises:
        ValueError: for an array of another shape; for floats, of which nobody said what is black and white; and as
            [`scale_values`].
    """
    image_like = array.ndim == 2 or array.ndim == 3 and array.shape[2] in (3, 4)
    if not image_like or not array.size or array.dtype.kind == "f" and value_range is None:
        raise ValueError(
            f"an array of {array.dtype}, {array.shape}: expected uint8, (height, width, 3), or uint16, or what "
            "Image.open returns; for floats, a value_range"
        )
    return to_rgb(Image.fromarray(scale_values(array, value_range).round().astype(np.uint8)))


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

    def preprocess(self, images, segmentation_maps=None, **kwargs) -> BatchFeature:
        """Prepare images, and label maps if there are any.

        Args:
            images: one image or a list: PIL, (height, width, 3) arrays or (3, height, width) tensors; uint8, uint16
                (0..65535), or floats (0..255, or 0..1, which `do_rescale=False` leaves alone).
            segmentation_maps: the same number of label maps, (height, width), 0..65535; `ignore_index` stays.
            kwargs: any field of this class (`do_resize`, `size`, `image_mean` ...), and `return_tensors="pt"`.

        Returns:
            A dict of `pixel_values`, (batch, 3, height, width) float32, and `labels`, (batch, height, width) int64.
            With `return_tensors` all images must have one size; without, both are lists.

        Raises:
            ValueError: for pixels whose black and white can't be told, and for labels other than 0 to 65535.
        """
        return super().preprocess(images, segmentation_maps, **kwargs)

    def _preprocess_image_like_inputs(
        self, images, segmentation_maps, do_convert_rgb, input_data_format, return_tensors, device=None, **kwargs
    ) -> BatchFeature:
        to_range(kwargs["value_range"])
        reduce_labels, flip_channels = kwargs.pop("do_reduce_labels"), kwargs.pop("do_flip_channel_order")
        value_range, ignore_index = kwargs.pop("value_range"), kwargs.pop("ignore_index")
        kwargs.pop("align_corners")  # of the way back
        prepare = self._prepare_image_like_inputs
        images = prepare(
            images=images,
            do_convert_rgb=do_convert_rgb,
            input_data_format=input_data_format,
            device=device,
            value_range=value_range,
            scale_floats=kwargs["do_rescale"],
        )
        if flip_channels:
            images = [x[[2, 1, 0]] for x in images]  # (3, height, width)
        data = {"pixel_values": self._preprocess(images, return_tensors=None, **kwargs)["pixel_values"]}
        if segmentation_maps is not None:
            maps = prepare(
                images=segmentation_maps,
                expected_ndims=2,
                do_convert_rgb=False,
                input_data_format=ChannelDimension.FIRST,
            )
            geometry = {**kwargs, "do_normalize": False, "do_rescale": False, "resample": self._nearest}
            planes = [_to_planes(x, ignore_index) for x in maps]
            planes = self._preprocess(planes, return_tensors=None, **geometry)["pixel_values"]
            labels = [_from_planes(x, ignore_index) for x in planes]
            data["labels"] = [_reduce(x, ignore_index) for x in labels] if reduce_labels else labels
        return BatchFeature(data=data, tensor_type=return_tensors)

    def process_image(self, image, do_convert_rgb=None, value_range=None, scale_floats=True, **kwargs):
        """One image in the backend's form, (channels, height, width). RGB is made here, for all backends alike."""
        if isinstance(image, Image.Image):
            layout = _layout(image)  # while nothing has decoded it
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
            ValueError: where the number of sizes isn't the batch size.
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
    """A label map as its file holds it, where Pillow stretches greys of 2 and 4 bits; turned as its EXIF says."""
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
    def _nearest(self):
        from torchvision.transforms import InterpolationMode

        return InterpolationMode.NEAREST_EXACT  # PIL's rule; plain NEAREST picks other pixels


class OCRNetImageProcessorPil(_SegmentationProcessing, PilBackend):
    """The same on PIL and numpy, for environments without torchvision."""

    _nearest = PILImageResampling.NEAREST


__all__ = ["OCRNetImageProcessor", "OCRNetImageProcessorPil"]
