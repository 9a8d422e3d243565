"""Segmenting whole images."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image


@torch.no_grad()
def segment(model, processor, image: Image.Image) -> np.ndarray:
    """The label map of one image, at the image's size.

    Args:
        model ([`OCRNetForSemanticSegmentation`]): in eval mode, on any device.
        processor ([`OCRNetImageProcessor`]): its preprocessing.
        image: RGB.

    Returns:
        (height, width) uint8 class indices.
    """
    inputs = processor(images=image, return_tensors="pt").to(model.device)
    outputs = model(**inputs)
    (label_map,) = processor.post_process_semantic_segmentation(outputs, target_sizes=[image.size[::-1]])
    return label_map.to(torch.uint8).cpu().numpy()
