"""Converts mmsegmentation's OCRNets over HRNet and ResNetV1c, and exports to them. Weight names are the same in 0.x and
1.x."""

from __future__ import annotations

from ..common.errors import UserError
from .architecture import hrnet_fields, ocrnet_fields, resnet_fields
from .converted_checkpoint import ConvertedCheckpoint, any_starts, conv_norm, rename
from .loading import Checkpoint

ORIGIN = "mmsegmentation (https://github.com/open-mmlab/mmsegmentation)"
_BLOCK = "decode_head.1.object_context_block"
_LAYERS = {
    "auxiliary_head.projection": "decode_head.0.convs.0",
    "ocr_head.projection": "decode_head.1.bottleneck",
    "ocr_head.fusion": f"{_BLOCK}.bottleneck",
    "ocr_head.attention.query.0": f"{_BLOCK}.query_project.0",
    "ocr_head.attention.query.1": f"{_BLOCK}.query_project.1",
    "ocr_head.attention.key.0": f"{_BLOCK}.key_project.0",
    "ocr_head.attention.key.1": f"{_BLOCK}.key_project.1",
    "ocr_head.attention.value": f"{_BLOCK}.value_project",
    "ocr_head.attention.out": f"{_BLOCK}.out_project",
}
_MODULES = {
    "decode_head.0.conv_seg": "auxiliary_head.classifier",
    "decode_head.1.conv_seg": "ocr_head.classifier",
}
for _ours, _theirs in _LAYERS.items():
    _MODULES |= conv_norm(_ours, f"{_theirs}.conv", f"{_theirs}.bn")
# ResNetV1c's stem is one Sequential that includes the activations; timm's last batch norm is outside of it
_STEM = {f"backbone.stem.{i}": f"backbone._backbone.conv1.{i}" for i in (0, 1, 3, 4, 6)}
_STEM["backbone.stem.7"] = "backbone._backbone.bn1"
_RESNET = {"backbone.layer": "backbone._backbone.layer"}
_HRNET = {"backbone.": "backbone."}


def matches(keys) -> bool:
    """Whether these are mmsegmentation's weight names."""
    return any_starts(keys, "decode_head.")


def convert(checkpoint: Checkpoint) -> ConvertedCheckpoint:
    """Convert an OCRNet. Classes and palette come from the checkpoint's `meta`. Dropout is that of mmsegmentation's
    configs: none for HRNet, 0.1 for ResNet.

    Raises:
        UserError: if the weights aren't those of an OCRNet.
    """
    is_resnet = any_starts(checkpoint.state, "backbone.stem.")
    renamed = rename(checkpoint.state, _MODULES | _STEM, _RESNET if is_resnet else _HRNET)
    dropped = renamed.dropped
    if is_resnet:
        backbone = resnet_fields(renamed.state, "backbone._backbone.")
        fields = ocrnet_fields(renamed.state, backbone, dropout=0.1, auxiliary_dropout=0.1)
    else:
        fields = ocrnet_fields(renamed.state, hrnet_fields(renamed.state, "backbone."))
    classes, palette = _dataset(checkpoint.extras.get("meta"))
    for name, values in (("classes", classes), ("palette", palette)):
        if values is not None and len(values) != fields["num_labels"]:
            dropped[f"meta: {name}"] = f"{len(values)} entries for a network of {fields['num_labels']} classes"
        elif values is not None and name == "classes":
            fields["id2label"] = dict(enumerate(values))
            fields["label2id"] = {name: i for i, name in enumerate(values)}
        elif values is not None:
            fields["palette"] = values
    return ConvertedCheckpoint(ORIGIN, fields, renamed.state, renamed.names, dropped)


def _dataset(meta) -> tuple[list[str] | None, list[list[int]] | None]:
    """Class names and RGB palette from `meta`: 1.x has them in `dataset_meta`, 0.x as `CLASSES` and `PALETTE`."""
    if not isinstance(meta, dict):
        return None, None
    inner = meta.get("dataset_meta")
    meta = meta | (inner if isinstance(inner, dict) else {})
    classes = meta.get("classes") or meta.get("CLASSES")
    palette = meta.get("palette") or meta.get("PALETTE")
    # a palette may have been pickled as a numpy array, which is read as a placeholder
    classes = list(classes) if _are(str, classes) else None
    palette = [list(row) for row in palette] if _are((list, tuple), palette) else []
    return classes, palette if palette and all(_are(int, row) for row in palette) else None


def _are(kind, values) -> bool:
    return isinstance(values, (list, tuple)) and all(isinstance(x, kind) for x in values)


def caveats(config) -> list[str]:
    """What mmsegmentation's configs must change for the exported weights, and where its code computes something else.

    Args:
        config ([`OCRNetConfig`]): the model's config.
    """
    backbone, found = config.backbone_config, []
    if config.align_corners:
        found.append("both heads need align_corners=True")
    if config.hidden_act != "relu":
        found.append(f"both heads need the activation {config.hidden_act} (act_cfg)")
    if config.auxiliary_kernel_size != 1 and backbone.model_type == "hrnet":
        found.append(f"the first head needs kernel_size={config.auxiliary_kernel_size}")
    if backbone.model_type == "hrnet" and (backbone.align_corners, backbone.fuse_upsample) != (False, "scale_factor"):
        found.append("its HRNet always upsamples with align_corners=False, by the factor: the numbers will differ")
    return found


def export(model) -> dict:
    """A model's weights, as mmsegmentation's model loads them with `strict=True`, and `meta`.

    mmsegmentation has no bias before a batch norm. Such a bias is subtracted from the norm's running mean.

    Args:
        model ([`OCRNetForSemanticSegmentation`]): over an HRNet, or over a timm ResNet with a deep stem.

    Returns:
        `{"meta": ..., "state_dict": ...}`, to be written by `torch.save`.

    Raises:
        UserError: if mmsegmentation can't express the network.
    """
    config = model.config
    is_hrnet = config.backbone_config.model_type == "hrnet"
    if config.pool_ceil_mode:
        raise UserError("pool_ceil_mode is true (openseg's ResNet): mmsegmentation's ResNet can't round up")
    if is_hrnet and config.backbone_config.fuse_upsample == "nearest":
        raise UserError("fuse_upsample is 'nearest' (a classification network's); mmsegmentation's is bilinear")
    if not is_hrnet and getattr(config.backbone_config, "backbone", None) is None:
        raise UserError(
            f"the backbone is a {config.backbone_config.model_type}; mmsegmentation's names are known for HRNets and "
            "for timm's ResNets with a deep stem (resnet101c)"
        )
    state = dict(model.state_dict())
    for key in [x for x in state if x.endswith(".conv.bias")]:
        norm = key.replace(".conv.bias", ".norm.running_mean")
        state[norm] = state[norm] - state.pop(key)
    modules = {ours: theirs for theirs, ours in (_MODULES | _STEM).items()}
    prefixes = {ours: theirs for theirs, ours in (_HRNET if is_hrnet else _RESNET).items()}
    classes = [config.id2label[i] for i in range(config.num_labels)]
    dataset = {"classes": classes, "palette": config.palette}
    meta = {"dataset_meta": dataset, "CLASSES": classes, "PALETTE": config.palette}
    return {"meta": meta, "state_dict": rename(state, modules, prefixes).state}
