"""The network as a file: ONNX, OpenVINO, a `torch.export` program, an AOTInductor package; 8-bit where asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from ..inference.compiled import compile_package
from ..inference.engines import FORMATS, needed
from ..inference.program import INPUT, OUTPUT, as_program
from ..modeling_ocrnet import OCRNetForSemanticSegmentation
from .quantization import quantize


def write(model: OCRNetForSemanticSegmentation, folder: Path, kind: str, precision: str, images: list) -> None:
    """Write the network to a folder, under the name that the format's engine looks for.

    Args:
        model: in eval mode; in float32 but for programs and packages, which keep its precision.
        folder: where to.
        kind: one of `FORMATS`.
        precision: one of the format's.
        images: for int8: what to calibrate on, anything whose items are (1, 3, height, width) float32 arrays.

    Raises:
        ValueError: where a package or a compiler is missing, or the backbone isn't one for such files.
    """
    check_packages(kind, precision)
    path = folder / FORMATS[kind].file
    program = as_program(model, products=kind in ("onnx", "openvino"))
    if kind == "torch":
        torch.export.save(program, path)
    elif kind == "aotinductor":
        compile_package(program, path)
    elif kind == "onnx":
        names = {"input_names": [INPUT], "output_names": [OUTPUT]}
        exported = torch.onnx.export(program, (), dynamo=True, external_data=False, verbose=False, **names)
        if precision == "int8":
            with unreported():
                needed("onnx").save(quantize(exported.model_proto, images, model.config.num_labels), path)
        else:
            exported.save(path)
    else:
        with unreported():
            openvino = needed("openvino")
            network = openvino.convert_model(program)
            if precision == "int8":
                network = quantize(network, images, model.config.num_labels)
            openvino.save_model(network, path, compress_to_fp16=precision != "fp32")


def check_packages(kind: str, precision: str) -> None:
    """Refuse what can't be made, before anything is.

    Raises:
        ValueError: for a precision that the format doesn't have, or a package that isn't installed.
    """
    if precision not in FORMATS[kind].precisions:
        raise ValueError(f"{kind} is exported in {', '.join(FORMATS[kind].precisions)}, not in {precision}")
    with unreported():
        for package in {"onnx": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("openvino",)}.get(kind, ()):
            needed(package)
        if precision == "int8":
            needed("nncf")


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
