"""Loads ImageNet weights into a backbone: HRNets of timm and of the authors, and timm's ResNets."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError
from transformers import PreTrainedModel

from ..common.errors import FileError, MissingFileError, UserError
from . import authors, mmseg, openseg
from .converted_checkpoint import IMAGENET_HEADS, any_starts
from .loading import read_checkpoint
from .named_backbone import described_by
from .weights import check_weights


def load_imagenet_backbone(backbone: PreTrainedModel, source: str) -> None:
    """Load ImageNet weights into a backbone, in place.

    Args:
        backbone ([`HRNetBackbone`] or `TimmBackbone`): must have the weights' width and depth.
        source: a Hub repository such as `timm/hrnet_w18.ms_in1k`, a local .safetensors, .bin, .pth or .pt file, or a
            folder with a model.safetensors, as `ocrnet convert` writes it.

    Raises:
        FileError: if the source can't be found or downloaded; the message says what to do.
        UserError: if its weights don't fit the backbone, or aren't finite.
    """
    path = _find(source)
    state = read_checkpoint(path).state
    state = {key: value for key, value in state.items() if not key.startswith(tuple(IMAGENET_HEADS))}
    own = backbone.state_dict()
    is_timm = backbone.config.model_type == "timm_backbone"
    if is_timm:  # transformers wraps the network; the names in timm's files lack the wrapper's prefix
        state = {f"_backbone.{key.removeprefix('_backbone.')}": value for key, value in state.items()}
    # old checkpoints may lack the batch norms' counters, which aren't used here
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in state if key not in own]
    misfits = [key for key in state if key in own and state[key].shape != own[key].shape]
    if any(family.matches(state) for family in (mmseg, authors, openseg)) or any_starts(state, "ocr_head."):
        raise UserError(
            f"{source}: a whole OCRNet, not a backbone: to start from it, give --model.init_from {source} instead of "
            "model.backbone"
        )
    if missing or unexpected or misfits:
        example = (misfits or missing or unexpected)[0]
        name = f"timm's {backbone.config.backbone}" if is_timm else f"branch widths {backbone.config.branch_channels}"
        remedy = (
            "Choose the weights of that network"
            if is_timm
            else "Choose the weights that belong to model.variant: hr18s takes hrnet_w18_small_v2, hr18 hrnet_w18, "
            "hr48 hrnet_w48"
        )
        raise UserError(
            f"{source}: not the weights of this backbone ({name}): "
            f"{len(misfits)} parameters of another shape, {len(missing)} missing, {len(unexpected)} unexpected, e.g. "
            f"{example}. {remedy}"
        )
    check_weights(state.items(), source)
    backbone.load_state_dict(state, strict=False)


def _find(source: str) -> Path:
    path = Path(source).expanduser()
    if path.is_dir():
        if (path / "config.json").is_file():
            described_by(source)  # refuses an OCRNet's folder
        path = path / "model.safetensors"
    if path.exists():
        return path
    looks_local = path.suffix in (".safetensors", ".bin", ".pth", ".pt") or source.startswith(("/", ".", "~"))
    remedy = (
        f"give a local file instead (--model.backbone /path/to/model.safetensors, downloaded from the Hub page of "
        f"{source}) or train from scratch (--model.backbone null)"
    )
    if looks_local:
        raise MissingFileError(f"{path}: no such file; {remedy}")
    try:
        return Path(hf_hub_download(source, "model.safetensors"))
    except RepositoryNotFoundError as error:
        raise FileError(f"{source}: no such repository on the Hub; {remedy}") from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise FileError(
            f"{source}: the Hub can't be reached and the file isn't in the local cache; {remedy}"
        ) from error
