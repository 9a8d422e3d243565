"""The OpenVINO engine: converts the network and runs it, with kernels for the sizes that come repeatedly."""

from __future__ import annotations

import copy
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

from ...common.optional import import_optional
from ...modeling_ocrnet import OCRNetForSemanticSegmentation
from .precision import cpu_has_bf16
from .program import export_program

HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
KEPT_SIZES = 4  # each size holds the memory of a forward pass


@contextmanager
def unreported() -> Iterator[None]:
    """Disable the telemetry of OpenVINO and NNCF: they send none if the environment variable CI is set."""
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
    """Convert the fused model to an `openvino.Model` from float32 images of any size to logits."""
    with unreported():
        program = export_program(copy.deepcopy(model).float(), products=True)
        return import_module("openvino").convert_model(program)


def for_size(network, shape: tuple[int, ...], precision: str) -> None:
    """Fix the images' shape, in place, and make two optimizations that OpenVINO doesn't make."""
    network.reshape(list(shape))
    operations = import_module("openvino.opset13")
    for x in network.get_ops():
        kind = x.get_type_name()
        # at most sizes, a program's second resize changes nothing, but OpenVINO would still run it
        if kind == "Interpolate" and x.input(0).get_shape() == x.output(0).get_shape():
            x.output(0).replace(x.input_value(0))
        # In bfloat16, OpenVINO leaves products with a constant factor in float32, which takes twice as long. A
        # conversion in between, which it doesn't treat as a constant, prevents that.
        elif kind == "MatMul" and precision == "bf16" and is_constant(x.input_value(0).get_node()):
            between = operations.convert(x.input_value(0), "bf16")
            back = operations.convert(between, "f32")
            for node in (between, back):
                node.get_rt_info()["DisableConstantFolding_0"] = ""
            x.input(0).replace_source_output(back.output(0))
    network.validate_nodes_and_infer_types()


def is_constant(node) -> bool:
    """Whether an operation's result depends only on weights and sizes."""
    todo, seen = [node], set()
    while todo:
        x = todo.pop()
        if x.get_type_name() == "Parameter":
            return False
        if x.get_type_name() != "ShapeOf" and x.get_friendly_name() not in seen:
            seen.add(x.get_friendly_name())
            todo += [y.get_node() for y in x.input_values()]
    return True


def open_file(path: Path, made_in: str, wanted: str | None) -> tuple[OpenVINONetwork, torch.dtype]:
    """See `engine.Format`."""
    import_optional("openvino")
    return OpenVINONetwork(path, wanted or _computed_in(made_in)), torch.float32


def _computed_in(precision: str) -> str:
    """The precision that a file with this precision is run in (int8 files: that of all other operations)."""
    if precision == "int8":
        return "bf16" if cpu_has_bf16() else "fp32"
    return "fp32" if precision == "fp16" else precision  # fp16 files only store their weights in fp16


class OpenVINONetwork:
    """A converted network that images can be passed to. Several threads may call it.

    The first size, and any size that comes a second time, gets its own network, compiled in half a second: OpenVINO
    chooses faster kernels if sizes are fixed. Other sizes share one network for any size.

    Args:
        path: the .xml file.
        precision: the precision for all that isn't int8. OpenVINO's own default is bf16 if the CPU has it.
    """

    def __init__(self, path: Path, precision: str):
        self.core = import_module("openvino").Core()
        threads = torch.get_num_threads()
        self.options = {"INFERENCE_PRECISION_HINT": HINTS[precision], "INFERENCE_NUM_THREADS": threads}
        self.options["PERFORMANCE_HINT"] = "LATENCY"
        self.path, self.precision, self.lock = str(path), precision, threading.Lock()
        self.seen: set[tuple[int, ...]] = set()
        self.of_size: OrderedDict[tuple[int, ...], _Compiled] = OrderedDict()
        self.of_any_size: _Compiled | None = None
        self.core.read_model(self.path)  # raises now if the file is damaged

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
                while len(self.of_size) > KEPT_SIZES:
                    self.of_size.popitem(last=False)
            return self.of_size[shape]

    def _compile(self, shape: tuple[int, ...] | None) -> _Compiled:
        network = self.core.read_model(self.path)
        if shape is not None:
            for_size(network, shape, self.precision)
        return _Compiled(self.core.compile_model(network, "CPU", self.options))


class _Compiled:
    """A compiled network. Each concurrent caller gets its own request; idle requests are reused."""

    def __init__(self, network):
        self.network, self.idle = network, []

    def __call__(self, array: np.ndarray) -> np.ndarray:
        try:
            request = self.idle.pop()
        except IndexError:
            request = self.network.create_infer_request()
        (result,) = request.infer([array]).values()
        result = result.copy()  # the request's memory is reused
        self.idle.append(request)
        return result
