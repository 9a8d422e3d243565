"""Write the network as ONNX, OpenVINO, a `torch.export` program or an AOTInductor package, optionally in 8 bits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..common.compat import program_problem
from ..common.errors import UserError
from ..common.optional import import_optional
from ..inference.engines.compiled import compile_package
from ..inference.engines.engine import FORMATS
from ..inference.engines.openvino_runtime import convert, unreported
from ..inference.engines.program import INPUT, OUTPUT, export_program
from ..modeling_ocrnet import OCRNetForSemanticSegmentation
from .quantization import quantize


def write(model: OCRNetForSemanticSegmentation, folder: Path, kind: str, precision: str, images: Sequence) -> None:
    """Write the network to a folder, under the file name of its format.

    Args:
        model: the model in eval mode. It must be float32, except for programs and packages, which keep its precision.
        folder: an existing folder.
        kind: a key of `FORMATS`.
        precision: one of the format's precisions.
        images: the calibration images for int8, a sequence of (1, 3, height, width) float32 arrays.

    Raises:
        UserError: if a package or a compiler is missing, or the backbone can't be exported.
    """
    check_packages(kind, precision)
    path = folder / FORMATS[kind].file
    if kind == "torch":
        torch.export.save(export_program(model), path)
    elif kind == "aotinductor":
        compile_package(export_program(model), path)
    elif kind == "onnx":
        options: dict[str, Any] = {"dynamo": True, "external_data": False, "verbose": False}
        program = export_program(model, products=True)
        exported: Any = torch.onnx.export(program, (), input_names=[INPUT], output_names=[OUTPUT], **options)
        if precision == "int8":
            with unreported():
                import_optional("onnx").save(quantize(exported.model_proto, images, model.config.num_labels), path)
        else:
            exported.save(path)
    else:
        network = convert(model)
        with unreported():
            if precision == "int8":
                network = quantize(network, images, model.config.num_labels)
            import_optional("openvino").save_model(network, path, compress_to_fp16=precision in ("fp16", "int8"))


def check_packages(kind: str, precision: str) -> None:
    """Check that a format can be exported here, before any work starts.

    Raises:
        UserError: if the format doesn't have the precision, torch is too old, or a package isn't installed.
    """
    if precision not in FORMATS[kind].precisions:
        raise UserError(f"{kind} can be exported in {', '.join(FORMATS[kind].precisions)}, not in {precision}")
    if (problem := program_problem()) is not None:
        raise UserError(f"{kind} can't be exported: {problem}")
    with unreported():
        for package in {"onnx": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("openvino",)}.get(kind, ()):
            import_optional(package)
        if precision == "int8":
            import_optional("nncf")
