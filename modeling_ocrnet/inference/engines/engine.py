"""What runs the network: PyTorch, or an exported file in another runtime. All are called as the model is."""

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
EXPORT = "export.json"  # beside an exported file: what it is
FROM_WEIGHTS = ("auto", "torch", "compile")  # engines that run a checkpoint as it is; the others need an export


@dataclass(frozen=True)
class Format:
    """A kind of exported file.

    Args:
        engine: what runs it.
        file: its name.
        precisions: those that it is made in, the usual one first.
        module: the file of this folder that opens it. Its function `open_file(path, made_in, wanted)` takes the
            precision of the file and the one asked for, if any, and returns what runs images, and the images' dtype.
        computes_in_any: another precision may be asked for than the file's.
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
    if precision not in (None, export.precision) and not form.computes_in_any:
        raise UserError(f"{path}: was exported in {export.precision}, not in {precision}: leave --precision out")
    opener = import_module(f".{form.module}", __package__)
    try:
        run, dtype = opener.open_file(path, export.precision, precision)
    except UserError:  # a package is missing
        raise
    except Exception as error:  # each runtime has errors of its own for damaged files
        if is_bug(error):
            raise
        raise UserError(f"{path}: {form.engine} can't open it ({reason(error)}): export again") from error
    return Engine(config, run, export.precision, torch.device(export.device), dtype)
