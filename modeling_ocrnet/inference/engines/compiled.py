"""Compile a network for a CPU, once for all image sizes, and cache the result on disk for other processes."""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import tempfile
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import torch
from huggingface_hub import cached_assets_path
from torch import Tensor
from torch.export import ExportedProgram

from ...common.compat import aoti_compile, aoti_load, compile_problem, has_cpp_compiler, program_problem
from ...common.errors import UserError
from ...modeling_ocrnet import OCRNetForSemanticSegmentation
from . import openvino_runtime
from .engine import Engine
from .openvino_runtime import OpenVINONetwork
from .precision import DTYPES, precision_of
from .program import export_program

logger = logging.getLogger("modeling_ocrnet.inference")


def compiler_problem() -> str | None:
    """Why this machine can't compile, or `None`. (Packages in the cache need no compiler.)"""
    if has_cpp_compiler():
        return None
    return "there is no C++ compiler: install g++, or set the environment variable CXX to one"


def compile_package(program: ExportedProgram, path: Path) -> None:
    """Compile a program to a file. Processes on this kind of machine can run it without a compiler.

    Raises:
        UserError: if there is no compiler.
    """
    if (problem := compiler_problem()) is not None:
        raise UserError(problem)
    # the number of threads is that of the process that runs the package, not of the one that compiles it
    settings = {"freezing": True, "cpp.dynamic_threads": True}
    # torch requires this suffix; moving the finished file keeps partial ones from the final path
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        part = Path(scratch) / "part.pt2"
        with torch.no_grad():
            aoti_compile(program, str(part), settings)
        os.replace(part, path)


def package(path: Path) -> Callable[[Tensor], Tensor]:
    """Load an AOTInductor package. It is machine code: load only files that you made yourself."""
    return aoti_load(str(path))


def open_file(path: Path, made_in: str, _wanted: str | None) -> tuple[Callable[[Tensor], Tensor], torch.dtype]:
    """See `engine.Format`."""
    return package(path), DTYPES[made_in]


def compiler_name() -> str:
    """The compiler for CPUs that is used in this environment."""
    return f"openvino {version('openvino')}" if find_spec("openvino") is not None else "aotinductor"


def compiled(model: OCRNetForSemanticSegmentation) -> Engine | OCRNetForSemanticSegmentation:
    """Compile a model, for any number of threads and any image size, or load it from the cache if it was compiled.

    OpenVINO compiles if it is installed, in half a minute; otherwise AOTInductor, in minutes. The cache is Hugging
    Face's cache for assets (`HF_ASSETS_CACHE`). Its key covers weights, code, versions and CPU.

    Returns:
        An engine. On devices other than the CPU, the model itself, which `torch.compile` compiles at its first image.
        If there is no compiler, or torch is too old, the unchanged model, with a warning.
    """
    if model.device.type != "cpu":
        if (problem := compile_problem()) is not None:
            logger.warning("%s; continuing without compilation", problem)
            return model
        model.compile(dynamic=True)
        return model
    compiler = compiler_name()
    by_openvino = compiler.startswith("openvino")
    folder = cached_assets_path("modeling_ocrnet", namespace="compiled", subfolder=_key(model, compiler))
    path = folder / ("model.xml" if by_openvino else "model.pt2")
    if not path.is_file():
        if (problem := program_problem() or (None if by_openvino else compiler_problem())) is not None:
            logger.warning("%s; continuing without compilation", problem)
            return model
        logger.warning("compiling with %s, once for this model on this machine: %s", compiler, path)
        (_convert if by_openvino else _compile)(model, path)
    precision = precision_of(model)
    if by_openvino:
        return Engine(model.config, OpenVINONetwork(path, precision), precision, model.device)
    return Engine(model.config, package(path), precision, model.device, model.dtype)


def _compile(model: OCRNetForSemanticSegmentation, path: Path) -> None:
    compile_package(export_program(model), path)


def _convert(model: OCRNetForSemanticSegmentation, path: Path) -> None:
    network = openvino_runtime.convert(model)
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        import_module("openvino").save_model(network, Path(scratch) / path.name, compress_to_fp16=False)
        for suffix in (".bin", ".xml"):  # .xml last: its presence means that both are there
            os.replace((Path(scratch) / path.name).with_suffix(suffix), path.with_suffix(suffix))


def _key(model: OCRNetForSemanticSegmentation, compiler: str) -> str:
    """A hash of everything that the machine code depends on, as 16 hexadecimal digits."""
    digest = hashlib.sha256()
    root = Path(__file__).parents[2]
    own = (root / "inference" / "engines" / f"{name}.py" for name in ("program", "compiled", "openvino_runtime"))
    for source in (*sorted(root.glob("*.py")), *own):
        digest.update(source.read_bytes())
    machine = (compiler, torch.__version__, platform.machine(), torch.backends.cpu.get_cpu_capability())
    digest.update(repr((*machine, model.config.to_json_string())).encode())
    for name, value in model.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:16]
