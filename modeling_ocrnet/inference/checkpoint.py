"""A checkpoint, ready to segment."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from accelerate import PartialState

from ..image_processing_ocrnet import OCRNetImageProcessor
from ..modeling_ocrnet import OCRNetForSemanticSegmentation

Precision = Literal["fp32", "bf16", "fp16"]
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def load_model(name: str, precision: Precision = "fp32") -> tuple[OCRNetForSemanticSegmentation, OCRNetImageProcessor]:
    """A model in eval mode and its image processor.

    Args:
        name: a folder that `save_pretrained` wrote (after training: `<output_dir>/model`), or a Hub repository.
        precision: of weights and activations; scores and probabilities are float32 always.

    Returns:
        The model, on Accelerate's device for this process, in channels_last memory; and the processor.

    Raises:
        ValueError: where there is no such checkpoint, it is damaged, or its weights aren't those of its config.
    """
    folder = Path(name)
    if folder.is_dir() and not (folder / "config.json").is_file():
        inside = next((x for x in (folder / "model", folder / "best") if (x / "config.json").is_file()), None)
        advice = f"did you mean {inside}?" if inside else "give a folder that save_pretrained wrote"
        raise ValueError(f"{name}: holds no config.json; {advice}")
    try:
        model, report = OCRNetForSemanticSegmentation.from_pretrained(
            name, dtype=_DTYPES[precision], output_loading_info=True
        )
        processor = OCRNetImageProcessor.from_pretrained(name)
    except OSError as error:  # what transformers raises for whatever isn't there
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"{name}: neither a checkpoint folder nor a model that can be had from the Hub ({reason})"
        ) from error
    except Exception as error:  # damaged files make transformers and safetensors raise anything
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        if "ignore_mismatched_sizes" in reason:
            reason = "the weights have other shapes than config.json says"
        raise ValueError(f"{name}: can't be loaded ({reason}): save or download it again") from error
    if missing := sorted(report["missing_keys"]):  # transformers would draw them at random
        raise ValueError(f"{name}: {len(missing)} weights are missing, {missing[0]} for one: save or download it again")
    model = model.to(PartialState().device, memory_format=torch.channels_last)
    return model.eval(), processor
