"""What runs the network: PyTorch, or an exported file in another runtime. All are called as the model is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Literal

import torch
from torch import Tensor, nn

from ...compat import aoti_load
from ...configuration_ocrnet import OCRNetConfig
from ...errors import UserError, reason
from ...modeling_ocrnet import OCRNetOutput
from .openvino_runtime import OpenVINONetwork
from .precision import DTYPES, Precision, cpu_has_bf16
from .program import INPUT

EngineName = Literal["auto", "torch", "compile", "onnxruntime", "openvino"]
EXPORT = "export.json"  # beside an exported file: what it is
_EXTRAS = {"onnxruntime": "onnx", "onnx": "onnx", "openvino": "openvino", "nncf": "onnx,openvino", "onnxscript": "onnx"}


@dataclass(frozen=True)
class Format:
    """A kind of exported file: what runs it, its name, and the precisions that it is made in, the usual one first."""

    engine: str
    file: str
    precisions: tuple[str, ...]


FORMATS = {
    "onnx": Format("onnxruntime", "model.onnx", ("fp32", "int8")),
    "openvino": Format("openvino", "model.xml", ("fp32", "bf16", "fp16", "int8")),
    "torch": Format("torch", "model.pt2", ("fp32", "bf16", "fp16")),
    "aotinductor": Format("compile", "model.aoti.pt2", ("fp32", "bf16", "fp16")),
}


@dataclass(frozen=True)
class Export:
    """What `export.json` says of the exported file beside it."""

    format: str
    precision: str
    device: str
    source: str

    def write(self, folder: Path) -> None:
        (folder / EXPORT).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Export | None:
        """What lies in a folder; `None` where nothing was exported to it.

        Raises:
            ValueError: where that is damaged, or the exported file isn't there.
        """
        path = folder / EXPORT
        if not path.is_file():
            return None
        try:
            export = cls(**json.loads(path.read_text(encoding="utf-8")))
            known = export.precision in FORMATS[export.format].precisions
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise UserError(f"{path}: not what scripts/export.py writes: export again") from error
        if not known:
            raise UserError(f"{path}: {export.format} has no precision {export.precision!r}: export again")
        file = folder / FORMATS[export.format].file
        if not file.is_file():
            raise UserError(f"{file}: there is no such file, but {EXPORT} beside it speaks of one: export again")
        return export


class Engine(nn.Module):
    """An exported OCRNet. [`segment`] and [`predict`] take it where they take a model.

    Args:
        config: the network's.
        run: normalised images (batch, 3, height, width) to logits (batch, classes, h, w); called from any thread.
        precision: of the file.
        device: of images and logits.
        dtype: of images.
    """

    def __init__(
        self,
        config: OCRNetConfig,
        run: Callable[[Tensor], Tensor],
        precision: str,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ):
        super().__init__()
        self.config, self.run, self.precision, self.device, self.dtype = config, run, precision, device, dtype
        self.eval()

    def forward(self, pixel_values: Tensor) -> OCRNetOutput:
        return OCRNetOutput(logits=self.run(pixel_values))


def import_optional(name: str) -> ModuleType:
    """A package of an extra.

    Raises:
        UserError: where it isn't installed, with the command that does it.
    """
    try:
        return import_module(name)
    except ImportError as error:
        extra = _EXTRAS[name]
        raise UserError(f"{name} isn't installed ({error}): pip install 'modeling-ocrnet[{extra}]'") from error


def open_export(folder: Path, export: Export, config: OCRNetConfig, precision: Precision | None = None) -> Engine:
    """An exported file, ready to run.

    Args:
        folder: where it lies.
        export: what it is.
        config: the network's.
        precision: in which an OpenVINO model computes what isn't int8, if not as it was exported. The others compute as
            they were exported.

    Raises:
        UserError: where the runtime isn't installed, the file is damaged, or the precision isn't the file's.
    """
    form = FORMATS[export.format]
    path = folder / form.file
    if precision not in (None, export.precision) and form.engine != "openvino":
        raise UserError(f"{path}: was exported in {export.precision}, not in {precision}: leave --precision out")
    opened = {"onnxruntime": _onnxruntime, "openvino": _openvino, "torch": _program, "compile": package}[form.engine]
    options = {"precision": precision or _computed_in(export.precision)} if form.engine == "openvino" else {}
    try:
        run = opened(path, **options)
    except UserError:  # a package is missing
        raise
    except Exception as error:  # each runtime has errors of its own for damaged files
        raise UserError(f"{path}: {form.engine} can't open it ({reason(error)}): export again") from error
    dtype = DTYPES[export.precision] if form.engine in ("torch", "compile") else torch.float32
    return Engine(config, run, export.precision, torch.device(export.device), dtype)


def _computed_in(precision: str) -> str:
    """In what OpenVINO computes a file of this precision; of an int8 file what isn't int8."""
    if precision == "int8":
        return "bf16" if cpu_has_bf16() else "fp32"
    return "fp32" if precision == "fp16" else precision  # that is only how weights are stored


def _onnxruntime(path: Path) -> Callable[[Tensor], Tensor]:
    session = import_optional("onnxruntime").InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(pixel_values: Tensor) -> Tensor:
        (logits,) = session.run(None, {INPUT: pixel_values.contiguous().numpy()})
        return torch.from_numpy(logits)

    return run


def _openvino(path: Path, precision: str) -> Callable[[Tensor], Tensor]:
    import_optional("openvino")
    return OpenVINONetwork(path, precision)


def _program(path: Path) -> Callable[[Tensor], Tensor]:
    module = torch.export.load(path).module()
    return lambda images: module(images)  # as a submodule it would refuse eval()


def package(path: Path) -> Callable[[Tensor], Tensor]:
    """An AOTInductor package: machine code, so only for files that one has made oneself."""
    return aoti_load(str(path))
