"""The result of a family's conversion, and the functions that all families use to rename weights."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from torch import Tensor

from ..common.errors import UserError

# top-level modules of every HRNet, in any implementation
HRNET_MODULES = ("conv1.", "bn1.", "conv2.", "bn2.", "layer1.", "transition", "stage")
CLASSIFIER_HEAD = "the ImageNet classifier; segmentation doesn't need it"
IMAGENET_HEADS = dict.fromkeys(
    ("incre_modules.", "downsamp_modules.", "final_layer.", "classifier.", "fc."), CLASSIFIER_HEAD
)


@dataclass
class ConvertedCheckpoint:
    """A checkpoint under our names.

    Args:
        origin: the project that the checkpoint came from, with its address.
        fields: fields of the config, including `model_type` ("ocrnet", "hrnet", "timm_backbone").
        state: the weights under our names.
        names: our name of each weight, with its name in the checkpoint.
        dropped: names in the checkpoint of weights left out, each with the reason.
        processor: fields of the image processor.
    """

    origin: str
    fields: dict
    state: dict[str, Tensor]
    names: dict[str, str]
    dropped: dict[str, str] = field(default_factory=dict)
    processor: dict = field(default_factory=dict)


@dataclass
class Renamed:
    """Weights under our names, each weight's original name, and the weights left out, each with the reason."""

    state: dict[str, Tensor]
    names: dict[str, str]
    dropped: dict[str, str]


def strip_wrappers(key: str) -> str:
    """A name without the prefixes that DataParallel and training wrappers add."""
    while key.startswith(("module.", "model.")):
        key = key.partition(".")[2]
    return key


def rename(
    state: dict[str, Tensor],
    modules: dict[str, str],
    prefixes: dict[str, str],
    drop: dict[str, str] | None = None,
) -> Renamed:
    """Rename weights to our names.

    Args:
        state: weights under their original names; wrappers' prefixes are removed.
        modules: original names of modules, each with ours, without the parameter (`weight`, `running_mean` ...). A
            batch norm that is wrapped with its activation (`1.0` for `1`) is found under its short name.
        prefixes: original prefixes of names, each with ours.
        drop: prefixes of names to leave out, each with the reason.

    Raises:
        UserError: if no rule matches a name, or two names would become the same.
    """
    result, unexplained = Renamed({}, {}, {}), []
    for key, value in state.items():
        ours, name = None, strip_wrappers(key)
        module, _, parameter = name.rpartition(".")
        reason = next((why for start, why in (drop or {}).items() if name.startswith(start)), None)
        target = modules.get(module) or modules.get(module.removesuffix(".0"))
        start = next((x for x in prefixes if name.startswith(x)), None)
        if reason:
            result.dropped[key] = reason
            continue
        if target:
            ours = f"{target}.{parameter}"
        elif start is not None:
            ours = prefixes[start] + name[len(start) :]
        if ours is None:
            unexplained.append(key)
        elif ours in result.state:
            raise UserError(f"{key} and {result.names[ours]} would both be renamed to {ours}")
        else:
            result.state[ours], result.names[ours] = value, key
    if unexplained:
        raise UserError(
            f"{len(unexplained)} weights belong to no OCRNet of this family: {', '.join(unexplained[:5])}"
            f"{' ...' if len(unexplained) > 5 else ''}"
        )
    return result


def conv_norm(ours: str, conv: str, norm: str) -> dict[str, str]:
    """The entries of a convolution and its batch norm in a table for `rename`."""
    return {conv: f"{ours}.conv", norm: f"{ours}.norm"}


def attention_modules(head: str) -> dict[str, str]:
    """The entries of the authors' OCR block in the module `head`; both of their repositories use these names."""
    block, ours = f"{head}.object_context_block", "ocr_head.attention"
    table = conv_norm("ocr_head.fusion", f"{head}.conv_bn_dropout.0", f"{head}.conv_bn_dropout.1")
    for theirs, name in (("f_pixel", "query"), ("f_object", "key")):
        table |= conv_norm(f"{ours}.{name}.0", f"{block}.{theirs}.0", f"{block}.{theirs}.1")
        table |= conv_norm(f"{ours}.{name}.1", f"{block}.{theirs}.2", f"{block}.{theirs}.3")
    for theirs, name in (("f_down", "value"), ("f_up", "out")):
        table |= conv_norm(f"{ours}.{name}", f"{block}.{theirs}.0", f"{block}.{theirs}.1")
    return table


def any_starts(keys: Iterable[str], start: str) -> bool:
    """Whether a name begins with `start`, apart from wrappers' prefixes."""
    return any(strip_wrappers(key).startswith(start) for key in keys)
