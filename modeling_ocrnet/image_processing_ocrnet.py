"""From images to OCRNet's input and from its logits to label maps."""

from functools import partial

import torch
import torch.nn.functional as F
from transformers.image_processing_backends import PilBackend, TorchvisionBackend
from transformers.image_processing_utils import BatchFeature
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, ChannelDimension, PILImageResampling
from transformers.processing_utils import ImagesKwargs


class OCRNetImageProcessorKwargs(ImagesKwargs, total=False):
    r"""
    do_reduce_labels (`bool`, *optional*, defaults to `self.do_reduce_labels`):
        Take 1 from every label, and make 0 (a background that isn't a class) 255.
    do_flip_channel_order (`bool`, *optional*, defaults to `self.do_flip_channel_order`):
        Give the model BGR; `image_mean` and `image_std` are then in that order. For weights trained on OpenCV's images.
    align_corners (`bool`, *optional*, defaults to `self.align_corners`):
        Of the resize from logits to label maps; as `config.align_corners` of the model.
    """

    do_reduce_labels: bool
    do_flip_channel_order: bool
    align_corners: bool


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
    model_input_names = ["pixel_values"]

    def preprocess(self, images, segmentation_maps=None, **kwargs) -> BatchFeature:
        """Prepare images, and label maps if there are any.

        Args:
            images: one image or a list: PIL, (height, width, 3) arrays of 0..255, or (3, height, width) tensors.
            segmentation_maps: the same number of label maps, (height, width); 255 stays 255.
            kwargs: any field of this class (`do_resize`, `size`, `image_mean` ...), and `return_tensors="pt"`.

        Returns:
            A dict of `pixel_values`, (batch, 3, height, width) float32, and `labels`, (batch, height, width) int64.
            With `return_tensors` all images must have one size; without, both are lists.
        """
        return super().preprocess(images, segmentation_maps, **kwargs)

    def _preprocess_image_like_inputs(
        self, images, segmentation_maps, do_convert_rgb, input_data_format, return_tensors, device=None, **kwargs
    ) -> BatchFeature:
        reduce_labels, flip_channels = kwargs.pop("do_reduce_labels"), kwargs.pop("do_flip_channel_order")
        kwargs.pop("align_corners")  # of the way back
        prepare = self._prepare_image_like_inputs
        images = prepare(
            images=images, do_convert_rgb=do_convert_rgb, input_data_format=input_data_format, device=device
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
            maps = self._preprocess(maps, return_tensors=None, **geometry)["pixel_values"]
            labels = [torch.as_tensor(x).squeeze(0).to(torch.int64) for x in maps]
            data["labels"] = [_reduce(x) for x in labels] if reduce_labels else labels
        return BatchFeature(data=data, tensor_type=return_tensors)

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


def _reduce(labels: torch.Tensor) -> torch.Tensor:
    return torch.where((labels == 0) | (labels == 255), 255, labels - 1)


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
