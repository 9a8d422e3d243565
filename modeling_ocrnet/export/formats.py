"""The network as a file: ONNX, OpenVINO, a `torch.export` program, an AOTInductor package; 8-bit where asked for."""

from __future__ import annotations

from pathlib import Path

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


def write(model: OCRNetForSemanticSegmentation, folder: Path, kind: str, precision: str, images: list) -> None:
    """Write the network to a folder, under the name that the format's engine looks for.

    Args:
        model: in eval mode; in float32 but for programs and packages, which keep its precision.
        folder: where to.
        kind: one of `FORMATS`.
        precision: one of the format's.
        images: for int8: what to calibrate on, anything whose items are (1, 3, height, width) float32 arrays.

    Raises:
        UserError: where a package or a compiler is missing, or the backbone isn't one for such files.
    """
    check_packages(kind, precision)
    path = folder / FORMATS[kind].file
    if kind == "torch":
        torch.export.save(export_program(model), path)
    elif kind == "aotinductor":
        compile_package(export_program(model), path)
    elif kind == "onnx":
        options = {"dynamo": True, "external_data": False, "verbose": False}
        program = export_program(model, products=True)
        exported = torch.onnx.export(program, (), input_names=[INPUT], output_names=[OUTPUT], **options)
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
    """Refuse what can't be made, before anything is.

    Raises:
        UserError: for a precision that the format doesn't have, a torch that is too old, or a package that isn't
            installed.
    """
    if precision not in FORMATS[kind].precisions:
        raise UserError(f"{kind} is exported in {', '.join(FORMATS[kind].precisions)}, not in {precision}")
    if (problem := program_problem()) is not None:
        raise UserError(f"{kind} can't be exported: {problem}")
    with unreported():
        for package in {"onnx": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("openvino",)}.get(kind, ()):
            import_optional(package)
        if precision == "int8":
            import_optional("nncf")
