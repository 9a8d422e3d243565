"""OpenVINO: the network converted for it, and run, faster for the sizes that come again."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..modeling_ocrnet import OCRNetForSemanticSegmentation
from .program import as_program

HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
KEPT_SIZES = 4  # each has the memory of a pass of its own


@contextmanager
def unreported() -> Iterator[None]:
    """OpenVINO and NNCF report each use to their makers, unless they believe to run in an automatic test."""
    before = os.environ.get("CI")
    os.environ["CI"] = "true"
    try:
        yield
    finally:
        if before is None:
            del os.environ["CI"]
        else:
            os.environ["CI"] = before


def convert(model: OCRNetForSemanticSegmentation):
    """The fused model as an `openvino.Model` from float32 images of any size to logits."""
    with unreported():
        return import_module("openvino").convert_model(as_program(model.float(), products=True))


def products(network) -> list[str]:
    """Names of what multiplies two maps, or a matrix with a map: in OpenVINO, layers have their weights second."""
    found = (x for x in network.get_ordered_ops() if x.get_type_name() == "MatMul")
    return [x.get_friendly_name() for x in found if not is_constant(x.input_value(1))]


def is_constant(output) -> bool:
    node = output.get_node()
    while node.get_type_name() in ("Reshape", "Transpose", "Convert"):
        node = node.input_value(0).get_node()
    return node.get_type_name() == "Constant"


def multiply_in_bfloat16(network, names: list[str]) -> None:
    """Say that these products are in bfloat16, in place. (A CPU that hasn't got it computes in float32.)

    Told to compute in bfloat16, OpenVINO leaves a product with a constant in float32, and one before an 8-bit layer.
    """
    operations = import_module("openvino.opset13")
    for x in network.get_ordered_ops():
        if x.get_type_name() == "MatMul" and x.get_friendly_name() in names:
            factors = (operations.convert(x.input_value(i), "bf16") for i in range(2))
            transposed = x.get_attributes()
            product = operations.matmul(*factors, transposed["transpose_a"], transposed["transpose_b"])
            x.output(0).replace(operations.convert(product, "f32").output(0))
    network.validate_nodes_and_infer_types()


class OpenVINONetwork:
    """A converted network, ready to run; may be called from several threads.

    The first size, and any that comes again, gets a network of its own, compiled in half a second: where sizes are
    known, OpenVINO chooses faster kernels. Others share one for any size.

    Args:
        path: the .xml file.
        precision: in which what isn't int8 is computed. Left to itself, OpenVINO would take bf16 where the CPU has it.
    """

    def __init__(self, path: Path, precision: str):
        self.core = import_module("openvino").Core()
        self.options = {"INFERENCE_PRECISION_HINT": HINTS[precision], "PERFORMANCE_HINT": "LATENCY"}
        self.path, self.lock = str(path), threading.Lock()
        self.seen, self.of_size, self.of_any_size = set(), OrderedDict(), None
        self.core.read_model(self.path)  # a damaged file is found out now

    def __call__(self, pixel_values: Tensor) -> Tensor:
        """Images (batch, 3, height, width), float32, to logits."""
        array = pixel_values.contiguous().numpy()
        return torch.from_numpy(self._network(array.shape)(array))

    def _network(self, shape: tuple[int, ...]) -> _Compiled:
        with self.lock:
            if shape in self.of_size:
                self.of_size.move_to_end(shape)
            elif self.seen and shape not in self.seen:
                self.seen.add(shape)
                if self.of_any_size is None:
                    self.of_any_size = self._compile(None)
                return self.of_any_size
            else:
                self.seen.add(shape)
                self.of_size[shape] = self._compile(shape)
                if len(self.of_size) > KEPT_SIZES:
                    self.of_size.popitem(last=False)
            return self.of_size[shape]

    def _compile(self, shape: tuple[int, ...] | None) -> _Compiled:
        network = self.core.read_model(self.path)
        if shape is not None:
            network.reshape(list(shape))
            # at most sizes a program's second resize changes nothing, but OpenVINO would carry it out
            for resize in (x for x in network.get_ops() if x.get_type_name() == "Interpolate"):
                if resize.input(0).get_shape() == resize.output(0).get_shape():
                    resize.output(0).replace(resize.input_value(0))
        return _Compiled(self.core.compile_model(network, "CPU", self.options))


class _Compiled:
    """Its requests serve one caller at a time; there are as many as there ever were callers at once."""

    def __init__(self, network):
        self.network, self.idle = network, []

    def __call__(self, array: np.ndarray) -> np.ndarray:
        try:
            request = self.idle.pop()
        except IndexError:
            request = self.network.create_infer_request()
        (result,) = request.infer([array]).values()
        result = result.copy()  # the request's memory is used again
        self.idle.append(request)
        return result
