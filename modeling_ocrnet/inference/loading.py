"""Load a checkpoint or an export for inference."""

from __future__ import annotations

from pathlib import Path

import torch
from accelerate import PartialState

from ..common.errors import UserError
from ..configuration_ocrnet import OCRNetConfig
from ..conversion.pretrained import check_folder, explained
from ..conversion.weights import check_weights
from ..image_processing_ocrnet import OCRNetImageProcessor
from ..modeling_ocrnet import OCRNetForSemanticSegmentation
from .engines.compiled import compiled
from .engines.engine import FORMATS, FROM_WEIGHTS, Engine, EngineName, Export, open_export
from .engines.precision import DTYPES, Precision


def load_model(name: str, precision: Precision = "fp32") -> tuple[OCRNetForSemanticSegmentation, OCRNetImageProcessor]:
    """Load a model in eval mode and its image processor.

    Args:
        name: a folder that `save_pretrained` wrote (after training: `model` in the run's folder), or a Hub repository.
        precision: precision of weights and activations; scores and probabilities are always float32.

    Returns:
        The model, on Accelerate's device for this process and in channels_last memory, and the processor.

    Raises:
        UserError: if there is no such checkpoint, it is damaged, its weights don't fit its config, or they aren't
            finite in this precision.
    """
    check_folder(name)
    with explained(name):
        model, report = OCRNetForSemanticSegmentation.from_pretrained(
            name, dtype=DTYPES[precision], output_loading_info=True
        )
        processor = OCRNetImageProcessor.from_pretrained(name)
    if missing := sorted(report["missing_keys"]):  # transformers initialised them at random
        raise UserError(f"{name}: {len(missing)} weights are missing, e.g. {missing[0]}: save or download it again")
    # numbers beyond the range of a half precision become infinite in it
    check_weights(model.state_dict().items(), name if precision == "fp32" else f"{name} in {precision}")
    model = model.to(PartialState().device, memory_format=torch.channels_last)
    return model.eval(), processor


def load_processor(name: str) -> OCRNetImageProcessor:
    """Load the image processor of a checkpoint or an export.

    Raises:
        UserError: if there is none.
    """
    check_folder(name)
    with explained(name):
        return OCRNetImageProcessor.from_pretrained(name)


def class_names(config: OCRNetConfig) -> list[str]:
    """A model's class names, by index."""
    return [config.id2label[index] for index in range(config.num_labels)]


def load_engine(
    name: str, engine: EngineName = "auto", precision: Precision | None = None
) -> tuple[OCRNetForSemanticSegmentation | Engine, OCRNetImageProcessor]:
    """Load a checkpoint or an export for an engine, in its fastest form, and its image processor.

    Args:
        name: as in [`load_model`], or an export's folder (`ocrnet export`).
        engine: "torch" (PyTorch's operators), "compile" (compiled for this machine, see [`compiled`]), or another
            runtime. "auto" is the engine that the folder was exported for, or "torch" if it holds weights.
        precision: float32 by default, or the exported file's own.

    Returns:
        The fused model, or an [`Engine`], which [`segment`] and [`predict`] take in its place; and the processor.

    Raises:
        UserError: as `load_model`; and if the engine isn't installed, or the folder isn't an export for it.
    """
    folder = Path(name)
    export = Export.read(folder) if folder.is_dir() else None
    if export is None:
        if engine not in FROM_WEIGHTS:
            needed = next(key for key, x in FORMATS.items() if x.engine == engine)
            raise UserError(f"{name}: not an export for {engine}: run ocrnet export {name} --format {needed}")
        model, processor = load_model(name, precision or "fp32")
        return compiled(model.fuse()) if engine == "compile" else model.fuse(), processor
    made_for = FORMATS[export.format].engine
    if engine not in ("auto", made_for):
        raise UserError(f"{name}: was exported for {made_for}, not for {engine}: export it again")
    check_folder(name)
    with explained(name):
        config, processor = (x.from_pretrained(name) for x in (OCRNetConfig, OCRNetImageProcessor))
    return open_export(folder, export, config, precision), processor
