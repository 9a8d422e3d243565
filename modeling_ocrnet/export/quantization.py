"""8-bit networks by NNCF's post-training quantization."""

from __future__ import annotations

import logging

from ..inference.engines import needed
from ..inference.program import INPUT

# Attention and softmaxes choose between classes by small differences; they are little work.
_EXACT_TYPES = ["MatMul", "Softmax"]


def quantize(network, images: list, classes: int):
    """An 8-bit copy of a network.

    In float32 stay: what is multiplied with maps of features or of regions (the attention, the heads' resizes), both
    softmaxes, both classifiers, and the convolution that reads the image.

    Args:
        network: an `onnx.ModelProto` or an `openvino.Model`.
        images: what to calibrate on: items are (1, 3, height, width) float32 arrays.
        classes: how many there are.
    """
    nncf = needed("nncf")
    is_onnx = hasattr(network, "graph")
    exact = _of_onnx(network, classes) if is_onnx else _of_openvino(network, classes)
    logging.getLogger("nncf").setLevel(logging.WARNING)
    samples = nncf.Dataset(range(len(images)), lambda i: {INPUT: images[i]} if is_onnx else images[i])
    return nncf.quantize(
        network,
        samples,
        subset_size=len(images),
        ignored_scope=nncf.IgnoredScope(names=exact, types=_EXACT_TYPES, validate=False),
    )


def _of_openvino(network, classes: int) -> list[str]:
    """Names of the first convolution and of the classifiers."""
    found = [x for x in network.get_ordered_ops() if x.get_type_name() == "Convolution"]
    weights = [tuple(x.input(1).get_shape()) for x in found]  # (outputs, inputs, rows, columns)
    return [x.get_friendly_name() for x, shape in zip(found, weights, strict=True) if _is_exact(shape, classes)]


def _of_onnx(network, classes: int) -> list[str]:
    shapes = {x.name: tuple(x.dims) for x in network.graph.initializer}
    convolutions = [x for x in network.graph.node if x.op_type == "Conv"]
    return [x.name for x in convolutions if _is_exact(shapes.get(x.input[1], ()), classes)]


def _is_exact(weight: tuple[int, ...], classes: int) -> bool:
    """Whether a convolution reads the image (3 channels), or puts out the classes from single pixels."""
    return weight[1:2] == (3,) or (weight[:1] == (classes,) and weight[2:] == (1, 1))
