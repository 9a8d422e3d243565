"""A network compiled by AOTInductor, once for all image sizes, and kept on disk for the next process."""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import tempfile
from pathlib import Path

import torch
from huggingface_hub import cached_assets_path
from torch.export import ExportedProgram

from ..fusion_ocrnet import FusedOCRNet
from .engines import Engine, package
from .precision import precision_of
from .program import as_program

logger = logging.getLogger("modeling_ocrnet.inference")


def compiler_problem() -> str | None:
    """Why nothing can be compiled on this machine, or `None`. (A package from the cache needs no compiler.)"""
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        return "there is no C++ compiler: install g++, or name one by the environment variable CXX"
    return None


def compile_package(program: ExportedProgram, path: Path) -> None:
    """Compile a program to a file that a process without a compiler can run, on this kind of machine.

    Raises:
        ValueError: where there is no compiler.
    """
    if (problem := compiler_problem()) is not None:
        raise ValueError(problem)
    # threads: as many as the process that runs it has, not the one that compiles
    settings = {"freezing": True, "cpp.dynamic_threads": True}
    # torch takes names that end so, and wouldn't leave half a file under the one that is looked for
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        part = Path(scratch) / "part.pt2"
        with torch.no_grad():
            torch._inductor.aoti_compile_and_package(program, package_path=str(part), inductor_configs=settings)
        os.replace(part, path)


def compiled(model: FusedOCRNet) -> Engine | FusedOCRNet:
    """The model, compiled: from the cache if it has been before, on any number of threads and for images of any size.

    The cache is Hugging Face's for assets (`HF_ASSETS_CACHE`); a package belongs to weights, code, torch and CPU.

    Returns:
        An engine; on devices other than the CPU the model itself, which `torch.compile` compiles at its first image.
        The model as it is, with a warning, where there is no compiler.
    """
    if model.device.type != "cpu":
        model.compile(dynamic=True)
        return model
    path = cached_assets_path("modeling_ocrnet", namespace="compiled", subfolder=_key(model)) / "model.pt2"
    if not path.is_file():
        if (problem := compiler_problem()) is not None:
            logger.warning("%s; going on without compiling", problem)
            return model
        logger.info("compiling (minutes; once for this model on this machine): %s", path)
        compile_package(as_program(model), path)
    return Engine(model.config, package(path), precision_of(model), model.device, model.dtype)


def _key(model: FusedOCRNet) -> str:
    """What machine code depends on, as 16 hexadecimal digits."""
    digest = hashlib.sha256()
    root = Path(__file__).parents[1]
    for source in (*sorted(root.glob("*.py")), *(root / "inference" / x for x in ("program.py", "compiled.py"))):
        digest.update(source.read_bytes())
    machine = (torch.__version__, platform.machine(), torch.backends.cpu.get_cpu_capability())
    digest.update(repr((*machine, model.config.to_json_string())).encode())
    for name, value in model.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:16]
