"""Exported files and the engine that runs them. An engine is called in the same way as the model."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from ...common.errors import UserError, is_bug, reason
from ...configuration_ocrnet import OCRNetConfig
from ...modeling_ocrnet import OCRNetOutput
from .precision import Precision

EngineName = Literal["auto", "torch", "compile", "onnxruntime", "openvino"]
EXPORT = "export.json"  # describes the exported file beside it
FROM_WEIGHTS = ("auto", "torch", "compile")  # engines that run a checkpoint; the others need an export


@dataclass(frozen=True)
class Format:
    """A format of exported files.

    Args:
        engine: the engine that runs them.
        file: their name.
        precisions: the precisions that they can be exported in, the usual one first.
        module: the module in this folder that opens them. Its function `open_file(path, made_in, wanted)` takes the
            file's precision and the requested one, or `None`. It returns a function from images to logits, and the
            images' dtype.
        computes_in_any: whether another precision than the file's can be requested.
    """

    engine: str
    file: str
    precisions: tuple[str, ...]
    module: str
    computes_in_any: bool = False


FORMATS = {
    "onnx": Format("onnxruntime", "model.onnx", ("fp32", "int8"), "onnxruntime_engine"),
    "openvino": Format("openvino", "model.xml", ("fp32", "bf16", "fp16", "int8"), "openvino_runtime", True),
    "torch": Format("torch", "model.pt2", ("fp32", "bf16", "fp16"), "torch_program"),
    "aotinductor": Format("compile", "model.aoti.pt2", ("fp32", "bf16", "fp16"), "compiled"),
}


@dataclass(frozen=True)
class Export:
    """The content of `export.json`, which describes the exported file beside it."""

    format: str
    precision: str
    device: str
    source: str

    def write(self, folder: Path) -> None:
        (folder / EXPORT).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Export | None:
        """Read a folder's `export.json`; `None` if the folder isn't an export.

        Raises:
            UserError: if it is damaged, or the exported file is missing.
        """
        path = folder / EXPORT
        if not path.is_file():
            return None
        try:
            export = cls(**json.loads(path.read_text(encoding="utf-8")))
            known = export.precision in FORMATS[export.format].precisions
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise UserError(f"{path}: damaged, or not written by ocrnet export: export again") from error
        if not known:
            raise UserError(f"{path}: {export.format} has no precision {export.precision!r}: export again")
        file = folder / FORMATS[export.format].file
        if not file.is_file():
            raise UserError(f"{file}: there is no such file, but {EXPORT} beside it names it: export again")
        return export


class Engine(nn.Module):
    """An exported OCRNet. [`segment`] and [`predict`] take it in place of a model.

    Args:
        config: the network's config.
        run: a function from normalised images, (batch, 3, height, width), to logits, (batch, classes, h, w). Any thread
            may call it.
        precision: the file's precision.
        device: the device of images and logits.
        dtype: the images' dtype.
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


def open_export(folder: Path, export: Export, config: OCRNetConfig, precision: Precision | None = None) -> Engine:
    """Open an exported file.

    Args:
        folder: the export's folder.
        export: the content of its `export.json`.
        config: the network's config.
        precision: the precision to compute in; the file's by default. Only OpenVINO models can compute in another one,
            in which they run all operations that aren't int8.

    Raises:
        UserError: if the runtime isn't installed, the file is damaged, or the format can't compute in this precision.
    """
    form = FORMATS[export.format]
    path = folder / form.file
    if precision not in (None, export.precision) and not form.computes_in_any:
        raise UserError(f"{path}: was exported in {export.precision}, not in {precision}: leave --precision out")
    opener = import_module(f".{form.module}", __package__)
    try:
        run, dtype = opener.open_file(path, export.precision, precision)
    except UserError:  # a package is missing
        raise
    except Exception as error:  # each runtime has its own error types for damaged files
        if is_bug(error):
            raise
        raise UserError(f"{path}: {form.engine} can't open it ({reason(error)}): export again") from error
    return Engine(config, run, export.precision, torch.device(export.device), dtype)
