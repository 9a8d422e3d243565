"""State dicts of full-size networks under foreign names, on the meta device: names from the fixtures and from timm."""

import torch

from helpers import reference

DATASET = {5: 19}  # classes: the fixtures', Cityscapes'
HEADS = {24: 512, 48: 1024, 12: 256, **DATASET}  # channels of the OCR head: the fixtures', the published


def heads(fixture: str, sizes: dict[int, int], exclude: str) -> dict[str, torch.Tensor]:
    """A fixture's heads, with every number of channels replaced."""
    names = {k: v for k, v in reference.foreign_state(fixture).items() if exclude not in k and "loss." not in k}
    sizes = {**HEADS, 1: 1, 3: 3, **sizes}
    return {k: torch.empty([sizes[x] for x in v.shape], device="meta") for k, v in names.items()}


def timm_state(name: str) -> dict[str, torch.Tensor]:
    import timm

    with torch.device("meta"):
        return timm.create_model(name, pretrained=False).state_dict()


def without_classifier(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    heads = ("incre_modules", "downsamp_modules", "final_layer", "classifier", "fc.")
    return {key: value for key, value in state.items() if not key.startswith(heads)}


def prefixed(prefix: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {prefix + key: value for key, value in state.items()}


def mmseg_hrnet(timm_name: str, width: int) -> dict[str, torch.Tensor]:
    backbone = prefixed("backbone.", without_classifier(timm_state(timm_name)))
    own = heads("mmseg_hrnet_ocr_tiny", {60: 15 * width}, exclude="backbone.")
    return backbone | own


def mmseg_resnet101() -> dict[str, torch.Tensor]:
    backbone = without_classifier(timm_state("resnet101c"))
    backbone = {k.replace("conv1.", "stem.", 1) if k.startswith("conv1.") else k: v for k, v in backbone.items()}
    backbone = {k.replace("bn1.", "stem.7.", 1) if k.startswith("bn1.") else k: v for k, v in backbone.items()}
    own = heads("mmseg_resnet_ocr_tiny", {64: 1024, 8: 256, 128: 2048}, exclude="backbone.")
    return prefixed("backbone.", backbone) | own


def authors_hrnet(timm_name: str, width: int) -> dict[str, torch.Tensor]:
    backbone = prefixed("model.", without_classifier(timm_state(timm_name)))
    own = {
        k: v
        for k, v in reference.foreign_state("official_hrnet_ocr_tiny").items()
        if k.startswith(("model.aux_head", "model.conv3x3_ocr", "model.ocr_distri_head", "model.cls_head"))
    }
    sizes = {**HEADS, 1: 1, 3: 3, 60: 15 * width}
    own = {k: torch.empty([sizes[x] for x in v.shape], device="meta") for k, v in own.items()}
    return backbone | own


def openseg_hrnet(timm_name: str, width: int) -> dict[str, torch.Tensor]:
    backbone = prefixed("module.backbone.", without_classifier(timm_state(timm_name)))
    return backbone | heads("openseg_hrnet_ocr_tiny", {60: 15 * width}, exclude="backbone.")


def openseg_resnet101() -> dict[str, torch.Tensor]:
    stem = {"conv1.0": "conv1", "conv1.1": "bn1", "conv1.3": "conv2", "conv1.4": "bn2", "conv1.6": "conv3"}
    stem["bn1"] = "bn3"
    state = {}
    for key, value in without_classifier(timm_state("resnet101s")).items():
        module, _, parameter = key.rpartition(".")
        theirs = f"resinit.{stem[module]}.{parameter}" if module in stem else key
        state[f"module.backbone.{theirs}"] = value
    return state | openseg_resnet_heads(heads("openseg_hrnet_ocr_tiny", {60: 512}, exclude="backbone."), (1024, 2048))


def openseg_resnet_heads(hrnet_heads: dict[str, torch.Tensor], inputs: tuple[int, int]) -> dict[str, torch.Tensor]:
    """openseg's heads by the names they have over a ResNet, reading `inputs` channels of stage 3 and of stage 4."""
    changes = (
        ("conv3x3.", "conv_3x3."),
        ("ocr_distri_head.", "spatial_ocr_head."),
        ("cls_head.", "head."),
        ("aux_head.2.", "dsn_head.3."),
        ("aux_head.", "dsn_head."),
    )
    state = {}
    for key, value in hrnet_heads.items():
        for theirs, ours in changes:
            if key.startswith(f"module.{theirs}"):
                key = key.replace(theirs, ours, 1)
                break
        state[key] = value
    for key, channels in (("module.dsn_head.0.weight", inputs[0]), ("module.conv_3x3.0.weight", inputs[1])):
        shape = (state[key].shape[0], channels, 3, 3)
        state[key] = torch.randn(shape, device=state[key].device) / (9 * channels) ** 0.5
    return state
