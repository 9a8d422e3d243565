"""Quantize networks to 8 bits by NNCF's post-training quantization."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from ..common.optional import import_optional
from ..inference.engines.openvino_runtime import is_constant
from ..inference.engines.program import INPUT


def quantize(network, images: Sequence, classes: int):
    """Make an 8-bit copy of a network.

    Some operations aren't quantized, because they decide between classes and take little time: products of two maps
    (the attention, the heads' resizes), the layers of regions, both softmaxes and both classifiers. The convolution
    that reads the image isn't quantized either.

    Args:
        network: an `onnx.ModelProto` or an `openvino.Model`, exported with `products` (`export_program`).
        images: the calibration images, (1, 3, height, width) float32 arrays.
        classes: the number of classes.
    """
    nncf = import_optional("nncf")
    is_onnx = hasattr(network, "graph")
    exact = _of_onnx(network, classes) if is_onnx else _of_openvino(network, classes)
    logging.getLogger("nncf").setLevel(logging.WARNING)
    samples = nncf.Dataset(range(len(images)), lambda i: {INPUT: images[i]} if is_onnx else images[i])
    scope = nncf.IgnoredScope(names=exact, types=["Softmax"], validate=False)
    return nncf.quantize(network, samples, subset_size=len(images), ignored_scope=scope)


def _of_onnx(network, classes: int) -> list[str]:
    """Names of the operations that aren't quantized."""
    shapes = {x.name: tuple(x.dims) for x in network.graph.initializer}
    layers = (x for x in network.graph.node if x.op_type in ("Conv", "MatMul", "Gemm"))
    return [x.name for x in layers if _is_exact(x.op_type, shapes.get(x.input[1], ()), classes)]


def _of_openvino(network, classes: int) -> list[str]:
    """The same, and sums of two lists of pixels: a product before an 8-bit sum would be computed in float32."""
    found = []
    for x in network.get_ordered_ops():
        kind, name = x.get_type_name(), x.get_friendly_name()
        if kind in ("MatMul", "Convolution"):
            weight = tuple(x.input(1).get_shape()) if is_constant(x.input_value(1).get_node()) else ()
            if _is_exact(kind, weight, classes):
                found.append(name)
        elif kind == "Add" and x.output(0).get_partial_shape().rank.get_length() == 3:
            found += [name] if not any(is_constant(y.get_node()) for y in x.input_values()) else []
    return found


def _is_exact(kind: str, weight: tuple[int, ...], classes: int) -> bool:
    """Whether an operation multiplies two maps, reads the image (3 channels), or outputs the classes."""
    return not weight or (weight[1:2] == (3,) if kind.startswith("Conv") else classes in weight)
