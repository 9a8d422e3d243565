"""A checkpoint or an export, ready to segment."""

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
    """A model in eval mode and its image processor.

    Args:
        name: a folder that `save_pretrained` wrote (after training: `<output_dir>/model`), or a Hub repository.
        precision: of weights and activations; scores and probabilities are float32 always.

    Returns:
        The model, on Accelerate's device for this process, in channels_last memory; and the processor.

    Raises:
        UserError: where there is no such checkpoint, it is damaged, its weights aren't those of its config, or aren't
            finite in this precision.
    """
    check_folder(name)
    with explained(name):
        model, report = OCRNetForSemanticSegmentation.from_pretrained(
            name, dtype=DTYPES[precision], output_loading_info=True
        )
        processor = OCRNetImageProcessor.from_pretrained(name)
    if missing := sorted(report["missing_keys"]):  # transformers would draw them at random
        raise UserError(f"{name}: {len(missing)} weights are missing, {missing[0]} for one: save or download it again")
    # half precisions make numbers that they can't hold infinite
    check_weights(model.state_dict().items(), name if precision == "fp32" else f"{name} in {precision}")
    model = model.to(PartialState().device, memory_format=torch.channels_last)
    return model.eval(), processor


def load_processor(name: str) -> OCRNetImageProcessor:
    """The image processor of a checkpoint or an export.

    Raises:
        UserError: where there is none.
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
    """What segments fastest with an engine, and its image processor.

    Args:
        name: as for [`load_model`], or a folder that `scripts/export.py` wrote.
        engine: PyTorch's own operators ("torch"), compiled for this machine ("compile", see [`compiled`]), or another
            runtime. "auto": what the folder was exported for, "torch" where it holds weights.
        precision: float32, or an exported file's own, by default.

    Returns:
        The fused model, or what [`segment`] and [`predict`] take in its place.

    Raises:
        UserError: as `load_model`; and where the engine isn't installed, or nothing was exported for it.
    """
    folder = Path(name)
    export = Export.read(folder) if folder.is_dir() else None
    if export is None:
        if engine not in FROM_WEIGHTS:
            needed = next(key for key, x in FORMATS.items() if x.engine == engine)
            raise UserError(f"{name}: not an export for {engine}: scripts/export.py {name} FOLDER --format {needed}")
        model, processor = load_model(name, precision or "fp32")
        return compiled(model.fuse()) if engine == "compile" else model.fuse(), processor
    made_for = FORMATS[export.format].engine
    if engine not in ("auto", made_for):
        raise UserError(f"{name}: was exported for {made_for}, not for {engine}: export it once more")
    check_folder(name)
    with explained(name):
        config, processor = (x.from_pretrained(name) for x in (OCRNetConfig, OCRNetImageProcessor))
    return open_export(folder, export, config, precision), processor
