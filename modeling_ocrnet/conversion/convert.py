"""Converts other projects' checkpoints to folders that `from_pretrained` loads, and OCRNets to mmsegmentation's
files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoBackbone, PreTrainedConfig, PreTrainedModel
from transformers.utils import is_timm_available

from ..common.errors import MissingPackageError, UserError, is_bug, reason, writing
from ..configuration_hrnet import HRNetConfig
from ..configuration_ocrnet import OCRNetConfig
from ..image_processing_ocrnet import OCRNetImageProcessor
from ..modeling_hrnet import HRNetBackbone
from ..modeling_ocrnet import OCRNetForSemanticSegmentation
from . import authors, imagenet, mmseg, openseg
from .converted_card import model_card
from .converted_checkpoint import ConvertedCheckpoint
from .given_fields import CONFIGS, UNFIT, GivenFields
from .loading import Checkpoint, read_checkpoint
from .pretrained import check_folder, explained
from .weights import check_weights

# a family is a module with `matches(keys)` and `convert(checkpoint)`; `auto` tries them in this order
FAMILIES = {"mmseg": mmseg, "hrnet": authors, "openseg": openseg, "timm": imagenet}
_COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class ConversionReport:
    """What the conversion did with every weight.

    Args:
        origin: the project that the checkpoint came from.
        description: the network that it was converted to.
        mapped: our name of each weight, with its name in the checkpoint.
        dropped: names in the checkpoint of weights left out, each with the reason.
        missing: our names of weights that the checkpoint lacks, each with what was used instead.
    """

    origin: str
    description: str
    mapped: dict[str, str]
    dropped: dict[str, str]
    missing: dict[str, str]

    def __str__(self) -> str:
        lines = [f"source:  {self.origin}", f"result:  {self.description}", f"mapped:  {len(self.mapped)} tensors"]
        parts: dict[str, list[str]] = {}
        for ours, theirs in self.mapped.items():
            part = next((x for x in ("auxiliary_head", "ocr_head") if ours.startswith(x)), "backbone")
            parts.setdefault(part, []).append(f"{theirs} -> {ours}")
        lines += [f"    {part}: {len(names)}, e.g. {names[0]}" for part, names in parts.items()]
        for title, names in (("dropped", self.dropped), ("missing", self.missing)):
            lines.append(f"{title}: {len(names)}")
            for cause in dict.fromkeys(names.values()):
                of_it = [name for name, why in names.items() if why == cause]
                lines.append(f"    {of_it[0]}{f' and {len(of_it) - 1} more' if len(of_it) > 1 else ''}: {cause}")
        return "\n".join(lines)


def rename_weights(checkpoint: Checkpoint, source: str = "auto") -> ConvertedCheckpoint:
    """Rename a checkpoint's weights to our names, and derive the network's config.

    Args:
        checkpoint: read by `read_checkpoint`.
        source: a name in `FAMILIES`, or `"auto"`.

    Raises:
        UserError: if no family (or, if one is given, not that one) explains every weight.
    """
    if source != "auto" and source not in FAMILIES:
        raise UserError(f"source {source!r} is unknown; expected one of auto, {', '.join(FAMILIES)}")
    if source == "auto":
        source = next((name for name, family in FAMILIES.items() if family.matches(checkpoint.state)), "")
    if not source:
        raise UserError(
            f"{checkpoint.path}: weights of no known family, e.g. {', '.join(list(checkpoint.state)[:3])}; expected an "
            f"OCRNet or an ImageNet backbone of {', '.join(FAMILIES)}"
        )
    try:
        return FAMILIES[source].convert(checkpoint)
    except UserError as error:
        raise UserError(f"{checkpoint.path}: as a checkpoint of {source}: {error}") from error


def build(
    checkpoint: Checkpoint,
    source: str = "auto",
    overrides: dict | None = None,
    places: dict[str, str] | None = None,
) -> tuple[PreTrainedModel, dict, ConversionReport]:
    """Build the network of a checkpoint and load the weights into it.

    Args:
        checkpoint: read by `read_checkpoint`.
        source: as for `rename_weights`.
        overrides: fields of the config that the shapes of the weights don't show, or show wrongly; `backbone_config`
            may be a dict of some fields.
        places: where each of them was given, for messages.

    Returns:
        The [`OCRNetForSemanticSegmentation`] in eval mode (for an ImageNet checkpoint: the backbone), the image
        processor's fields, and the report on every weight.

    Raises:
        UserError: if a weight is missing, left over, of another shape or not finite; the message names it.
        MissingPackageError: if the backbone is timm's and timm isn't installed.
    """
    converted, given = rename_weights(checkpoint, source), GivenFields(overrides, places)
    model, state, missing = _network(checkpoint, converted, given)
    check_weights(state.items(), str(checkpoint.path))
    model.load_state_dict(state, assign=True)
    report = ConversionReport(converted.origin, _describe(model), converted.names, converted.dropped, missing)
    return model.eval(), converted.processor, report


def convert_checkpoint(
    path: str,
    output_dir: str,
    source: str = "auto",
    overrides: dict | None = None,
    places: dict[str, str] | None = None,
) -> ConversionReport:
    """Convert another project's checkpoint to a folder with config, weights, image processor and model card.

    Args:
        path: a .safetensors file, or a file written by `torch.save`.
        output_dir: the folder; must be new or empty.
        source: a name in `FAMILIES`, or `"auto"`.
        overrides, places: as for `build`.

    Raises:
        UserError: as `read_checkpoint` and `build` do, and if the folder isn't empty.
    """
    folder = Path(output_dir)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: exists already; give a new folder")
    checkpoint = read_checkpoint(path)
    model, processor, report = build(checkpoint, source, overrides, places)
    with writing(folder):
        model.save_pretrained(folder)
        OCRNetImageProcessor(**processor).save_pretrained(folder)
        (folder / "README.md").write_text(model_card(checkpoint.path, model, report), encoding="utf-8")
    return report


def export_mmseg(path: str, output: str) -> str:
    """Export a model to a file that mmsegmentation's model loads with `strict=True`.

    Args:
        path: a folder written by `save_pretrained`, or a Hub repository.
        output: the file, e.g. `ocrnet.pth`.

    Returns:
        A text that says what was written, and what mmsegmentation's config must set to compute the same.

    Raises:
        UserError: if the file exists, the model can't be loaded, or mmsegmentation can't express it.
    """
    if Path(output).exists():
        raise UserError(f"{output}: exists already; give a new file")
    check_folder(path)
    with explained(path):
        model, loaded = OCRNetForSemanticSegmentation.from_pretrained(path, output_loading_info=True)
    try:
        content = mmseg.export(model)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    if missing := sorted(loaded["missing_keys"]):  # transformers initialised them at random
        raise UserError(f"{path}: {len(missing)} weights are missing, e.g. {missing[0]}: save or download it again")
    check_weights(model.state_dict().items(), path)
    with writing(output):
        Path(output).parent.mkdir(parents=True, exist_ok=True)
        with open(output, "wb") as file:
            torch.save(content, file)
    lines = [f"{len(content['state_dict'])} tensors under mmsegmentation's names: {output}"]
    return "\n".join(lines + [f"note: {caveat}" for caveat in mmseg.caveats(model.config)])


def _network(
    checkpoint: Checkpoint, converted: ConvertedCheckpoint, given: GivenFields
) -> tuple[PreTrainedModel, dict[str, torch.Tensor], dict[str, str]]:
    """The network without numbers, its state dict, and what the checkpoint lacks of it.

    Raises:
        UserError: naming the field that was given wrongly, or else the checkpoint.
    """

    def make(fields: dict) -> tuple[PreTrainedModel, dict[str, torch.Tensor], dict[str, str]]:
        config = _config(fields)
        with torch.device("meta"):  # only shapes are needed: the weights are assigned later
            model = _model(config)
        return model, *_complete(converted, model)

    def attempt(values: dict) -> Exception | None:
        try:
            make(GivenFields(values).over(converted.fields))
        except UNFIT as error:
            return error
        return None

    fields = given.over(converted.fields)
    try:
        return make(fields)
    except MissingPackageError:
        raise
    except UNFIT as error:
        if is_bug(error):
            raise
        if given.values and (blamed := given.blame(error, converted.fields, attempt)) is not None:
            raise blamed from error
        if not isinstance(error, (ValueError, StrictDataclassError)):
            raise
        raise UserError(f"{checkpoint.path}: {reason(error, 1000)}") from error


def _config(fields: dict) -> PreTrainedConfig:
    backbone = fields.get("backbone_config", fields)
    if backbone["model_type"] == "timm_backbone":
        if backbone["backbone"] is None:
            raise UserError(
                "timm has no ResNet with a deep stem of these depths and widths; name the timm network: "
                """--model.config '{"backbone_config": {"backbone": "NAME"}}'"""
            )
        if not is_timm_available():
            raise MissingPackageError(f"{backbone['backbone']} is timm's: pip install 'modeling-ocrnet[timm]'")
    fields = {key: value for key, value in fields.items() if key != "model_type"}
    if "backbone_config" in fields:
        inner = dict(fields["backbone_config"])
        fields["backbone_config"] = CONFIGS[inner.pop("model_type")](**inner)
        return OCRNetConfig(**fields)
    return CONFIGS[backbone["model_type"]](**fields)


def _model(config: PreTrainedConfig) -> PreTrainedModel:
    if isinstance(config, OCRNetConfig):
        return OCRNetForSemanticSegmentation(config)
    return HRNetBackbone(config) if isinstance(config, HRNetConfig) else AutoBackbone.from_config(config)


def _complete(converted: ConvertedCheckpoint, model: PreTrainedModel) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The state dict for `model`, and its weights that the checkpoint lacks, each with what was used instead."""
    own, state, names = model.state_dict(), dict(converted.state), converted.names
    missing = {}
    for key, value in own.items():
        if key not in state and key.endswith(_COUNTER):  # old checkpoints have none, and evaluation doesn't read it
            state[key] = torch.zeros((), dtype=value.dtype)
            missing[key] = "starts at 0 (a batch norm's counter, which only training with momentum null reads)"
    absent = [key for key in own if key not in state]
    unexpected = [f"{names[key]} ({key})" for key in state if key not in own]
    misfits = [
        f"{names[key]} is {tuple(state[key].shape)}, {key} {tuple(value.shape)}"
        for key, value in own.items()
        if key in names and state[key].shape != value.shape
    ]
    for what, found in (("of another shape", misfits), ("missing", absent), ("left over", unexpected)):
        if found:
            raise UserError(f"{len(found)} weights {what}, e.g. {'; '.join(found[:3])}")
    # clones, because tensors of other programs' files may share memory, and safetensors refuses to write those
    return {key: state[key].clone().contiguous() for key in own}, missing


def _describe(model: PreTrainedModel) -> str:
    config = model.config
    backbone = getattr(config, "backbone_config", config)
    name = (
        f"HRNet (branches {'/'.join(map(str, backbone.branch_channels))}, modules "
        f"{'/'.join(map(str, backbone.stage_modules))})"
        if backbone.model_type == "hrnet"
        else f"timm's {backbone.backbone}"
    )
    size = f"{sum(p.numel() for p in model.parameters()):,} parameters"
    return f"OCRNet over {name}, {config.num_labels} classes, {size}" if backbone is not config else f"{name}, {size}"
