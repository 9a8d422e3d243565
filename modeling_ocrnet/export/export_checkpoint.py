"""Export a checkpoint: write the export to a temporary folder, check it, then move it to its place."""

from __future__ import annotations

import copy
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from .. import data
from ..common.errors import UserError, writing
from ..conversion.weights import check_weights
from ..data.decoding import ValueRange, read_image, with_value_range
from ..evaluation.class_names import match_classes
from ..inference.engines.engine import FORMATS, Export, open_export
from ..inference.engines.precision import DTYPES
from ..inference.files import find_images
from ..inference.loading import class_names, load_model
from .formats import check_packages, write
from .parity import BOUNDS, ParityReport, check_sizes, compare


@dataclass
class ExportArguments(data.DataSource):
    """What to export, and the images to check the export on."""

    format: Literal["onnx", "openvino", "torch", "aotinductor"] = "onnx"
    """Format: onnx and openvino are files for these runtimes, torch is a torch.export program, aotinductor is machine
    code for this CPU."""
    precision: Literal["fp32", "fp16", "bf16", "int8"] = "fp32"
    """Precision. onnx: fp32, int8; openvino: all (fp16: weights only); torch and aotinductor: all but int8."""
    images: list[str] = field(default_factory=list)
    """Images, folders or patterns to use instead of a dataset, without mIoU. Images in folders are found by their
    suffix; links are followed, hidden files (.*, __MACOSX) are left out."""
    split: str = "val"
    """The dataset's split to check the export on."""
    check_images: int = 16
    """Number of images to check the export on, evenly spread."""
    calibration_split: str = "train"
    """The dataset's split to calibrate int8 on."""
    calibration_images: int = 64
    """Number of images to calibrate int8 on, evenly spread."""
    agreement: float | None = None
    """Share of pixels that must keep their class (null: 0.999 for fp32, 0.99 for fp16, 0.98 for bf16 and int8)."""
    points: float = 0.5
    """Largest accepted loss of mIoU, in percentage points."""

    def __post_init__(self):
        super().__post_init__()
        if min(self.check_images, self.calibration_images) < 1:
            raise UserError("check_images and calibration_images must be at least 1")
        if self.agreement is not None and not 0 <= self.agreement <= 1:
            raise UserError(f"agreement must be a share from 0 to 1, got {self.agreement}")
        if not 0 <= self.points <= 100:
            raise UserError(f"points must be percentage points from 0 to 100, got {self.points}")


def export_checkpoint(name: str, output: str, task: ExportArguments) -> ParityReport:
    """Export a checkpoint.

    Args:
        name: checkpoint folder or Hub repository.
        output: the folder to write: the exported file, `config.json`, `preprocessor_config.json` and `export.json`.
        task: the format, and the images to check on.

    Returns:
        How well the export agrees with the checkpoint.

    Raises:
        UserError: if the checkpoint can't be exported, a file can't be read, or the export differs too much from the
            checkpoint. Nothing is written then.
    """
    folder = Path(output)
    check_packages(task.format, task.precision)
    if folder.is_dir() and any(folder.iterdir()) and Export.read(folder) is None:
        raise UserError(f"{output}: holds other files than an export: choose a new folder")
    model, processor = load_model(name)
    order = None
    if not task.images:
        labels = data.label_set(task)
        order = match_classes(class_names(model.config), labels.names, name, task.name)
    value_range = processor.value_range if task.value_range is None else task.value_range
    rows = _rows(task, task.split, task.check_images, value_range)
    samples: Sequence[np.ndarray] = ()
    if task.precision == "int8":
        found = _rows(task, task.calibration_split, task.calibration_images, value_range)
        samples = _Calibration(found, processor)
    on_cpu = FORMATS[task.format].engine in ("onnxruntime", "openvino")
    model = model.to("cpu") if on_cpu else model
    made = model if on_cpu else copy.deepcopy(model).to(DTYPES[task.precision])
    check_weights(made.state_dict().items(), f"{name} in {task.precision}")
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".export-") as temporary:
        scratch = Path(temporary)
        write(made, scratch, task.format, task.precision, samples)
        export = Export(task.format, task.precision, made.device.type, Path(name).name)
        export.write(scratch)
        model.config.save_pretrained(scratch)
        processor.save_pretrained(scratch)
        exported = open_export(scratch, export, model.config)
        if on_cpu:
            check_sizes(model, exported, task.precision)
        agreement = compare(model, exported, processor, rows, order)
        least = BOUNDS[task.precision] if task.agreement is None else task.agreement
        agreement.check(least, task.points)
        with writing(folder):
            folder.mkdir(exist_ok=True)
            for old in (*(x.file for x in FORMATS.values()), "model.bin"):
                (folder / old).unlink(missing_ok=True)
            for file in sorted(scratch.iterdir()):
                os.replace(file, folder / file.name)
    return agreement


def _rows(task: ExportArguments, split: str, count: int, value_range: ValueRange) -> Sequence[dict]:
    """Up to `count` rows of a split or of the given images, evenly spread."""
    if task.images:
        rows = _Files(list(find_images(task.images, "predictions")), value_range, task.max_pixels)
    else:
        rows = with_value_range(data.load(task, split=split), value_range)
    chosen = np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int)
    return _Chosen(rows, chosen.tolist())


class _Files(Sequence):
    """Rows of image files, without labels."""

    def __init__(self, paths: list[Path], value_range: ValueRange, max_pixels: int):
        self.paths, self.value_range, self.max_pixels = paths, value_range, max_pixels

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict:  # type: ignore[override]
        source = {"path": str(self.paths[index]), "bytes": None}
        return {"image": read_image(source, self.value_range, self.max_pixels), "label": None}


class _Chosen(Sequence):
    """A selection of rows, read on access."""

    def __init__(self, rows, indices: list[int]):
        self.rows, self.indices = rows, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> dict:  # type: ignore[override]
        return self.rows[self.indices[index]]


class _Calibration(Sequence):
    """Rows as the network's input, (1, 3, height, width) float32."""

    def __init__(self, rows: Sequence[dict], processor):
        self.rows, self.processor = rows, processor

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> np.ndarray:  # type: ignore[override]
        return self.processor(self.rows[index]["image"], return_tensors="np")["pixel_values"]
