"""8-bit networks by NNCF's post-training quantization."""

from __future__ import annotations

import logging

from ..inference.engines import needed
from ..inference.openvino_runtime import is_constant, multiply_in_bfloat16, products
from ..inference.program import INPUT


def quantize(network, images: list, classes: int):
    """An 8-bit copy of a network.

    Not in 8 bits are: what is multiplied with maps of features or of regions (the attention, the heads' resizes) and
    the layers of regions, all little work by which classes are chosen; both softmaxes; both classifiers; the
    convolution that reads the image. In OpenVINO those products are in bfloat16, which a CPU without it makes float32.

    Args:
        network: an `onnx.ModelProto` or an `openvino.Model`, made of products (`as_program`).
        images: what to calibrate on: items are (1, 3, height, width) float32 arrays.
        classes: how many there are.
    """
    nncf = needed("nncf")
    is_onnx = hasattr(network, "graph")
    of_maps, others = _of_onnx(network, classes) if is_onnx else _of_openvino(network, classes)
    logging.getLogger("nncf").setLevel(logging.WARNING)
    samples = nncf.Dataset(range(len(images)), lambda i: {INPUT: images[i]} if is_onnx else images[i])
    scope = nncf.IgnoredScope(names=[*of_maps, *others], types=["Softmax"], validate=False)
    quantized = nncf.quantize(network, samples, subset_size=len(images), ignored_scope=scope)
    if not is_onnx:
        multiply_in_bfloat16(quantized, of_maps)
    return quantized


def _of_onnx(network, classes: int) -> tuple[list[str], list[str]]:
    """Names of the products of two maps, and of the other exact operations."""
    shapes = {x.name: tuple(x.dims) for x in network.graph.initializer}
    layers = [(x, shapes.get(x.input[1], ())) for x in network.graph.node if x.op_type in ("Conv", "MatMul", "Gemm")]
    of_maps = [x.name for x, weight in layers if x.op_type == "MatMul" and not weight]
    return of_maps, [x.name for x, weight in layers if _is_exact(x.op_type, weight, classes)]


def _of_openvino(network, classes: int) -> tuple[list[str], list[str]]:
    """The same; and the sums of lists of pixels, which stay in the products' precision."""
    of_maps, others = products(network), []
    for x in network.get_ordered_ops():
        kind, name = x.get_type_name(), x.get_friendly_name()
        if kind in ("MatMul", "Convolution") and name not in of_maps:
            if _is_exact(kind, tuple(x.input(1).get_partial_shape().to_shape()), classes):
                others.append(name)
        elif kind == "Add" and x.output(0).get_partial_shape().rank.get_length() == 3:
            if not any(is_constant(x.input_value(i)) for i in range(2)):
                others.append(name)
    return of_maps, others


def _is_exact(kind: str, weight: tuple[int, ...], classes: int) -> bool:
    """Whether a layer reads the image (3 channels), or puts out the classes."""
    return weight[1:2] == (3,) if kind.startswith("Conv") else classes in weight
