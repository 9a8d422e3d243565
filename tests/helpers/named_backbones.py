"""Tiny models of transformers in folders, as their authors publish them, and the maps that they give on their own."""

import json

import torch
import torch.nn.functional as F
from transformers import (
    BeitConfig,
    BeitModel,
    ConvNextConfig,
    ConvNextModel,
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    DINOv3ConvNextConfig,
    DINOv3ConvNextModel,
    DINOv3ViTConfig,
    DINOv3ViTModel,
    PvtV2Config,
    PvtV2ForImageClassification,
    ResNetConfig,
    ResNetForImageClassification,
    ResNetModel,
    SwinConfig,
    SwinForImageClassification,
    SwinModel,
)

VIT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "mlp_ratio": 2,
    "image_size": 64,
}
STAGES = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}
SWIN = {"embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2], "window_size": 4, "image_size": 64}
PVT = {"hidden_sizes": [8, 16, 24, 32], "depths": [1] * 4, "num_attention_heads": [1, 1, 2, 2], "mlp_ratios": [2] * 4}


def patches(prefix: int, patch: int):
    """From the last hidden state of a ViT to its map, without `prefix` tokens before the patches."""

    def maps(model, images):
        tokens = model(images).last_hidden_state[:, prefix:]
        return [tokens.transpose(1, 2).unflatten(2, [x // patch for x in images.shape[-2:]])]

    return maps


def beit_patches(model, images):
    tokens = model(images, output_hidden_states=True).hidden_states[-1][:, 1:]
    return [tokens.transpose(1, 2).unflatten(2, [x // 16 for x in images.shape[-2:]])]


def stages(model, images):
    return model(images, output_hidden_states=True).hidden_states[1:]


def normed_stages(model, images):
    """With the norms that only the backbone's class has, as they are initialised."""
    return [F.layer_norm(x.permute(0, 2, 3, 1), x.shape[1:2]).permute(0, 3, 1, 2) for x in stages(model, images)]


def swin_stages(model, images):
    """Each stage's map before it is downsampled, with norms as they are initialised."""
    model = getattr(model, "swin", model)
    wanted = {"output_hidden_states": True, "output_hidden_states_before_downsampling": True}
    maps = model(images, always_partition=True, **wanted).reshaped_hidden_states[1:]
    return [F.layer_norm(x.permute(0, 2, 3, 1), x.shape[1:2]).permute(0, 3, 1, 2) for x in maps]


# (the model, its maps on its own for sizes that are multiples of 32 (of the patch), its stride if it is plain)
NAMED = {
    "dinov2": lambda: (Dinov2Model(Dinov2Config(**VIT, patch_size=14)), patches(1, 14), 14),
    "dinov2_with_registers": lambda: (
        Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**VIT, patch_size=14)),
        patches(5, 14),
        14,
    ),
    "dinov3_vit": lambda: (DINOv3ViTModel(DINOv3ViTConfig(**VIT, num_register_tokens=4)), patches(5, 16), 16),
    "beit": lambda: (
        BeitModel(BeitConfig(**VIT, patch_size=16, use_relative_position_bias=True, use_mask_token=True)),
        beit_patches,
        16,
    ),
    "beit_positions": lambda: (
        BeitModel(BeitConfig(**VIT, patch_size=16, use_absolute_position_embeddings=True)),
        beit_patches,
        16,
    ),
    "convnext": lambda: (ConvNextModel(ConvNextConfig(**STAGES)), normed_stages, None),
    "dinov3_convnext": lambda: (DINOv3ConvNextModel(DINOv3ConvNextConfig(**STAGES)), stages, None),
    "resnet": lambda: (ResNetModel(ResNetConfig(embedding_size=8, **STAGES)), stages, None),
    "resnet_classifier": lambda: (
        ResNetForImageClassification(ResNetConfig(embedding_size=8, **STAGES)),
        stages,
        None,
    ),
    "swin": lambda: (SwinModel(SwinConfig(**SWIN)), swin_stages, None),
    "swin_classifier": lambda: (SwinForImageClassification(SwinConfig(**SWIN)), swin_stages, None),
    "pvt_v2": lambda: (
        PvtV2ForImageClassification(PvtV2Config(**PVT)),
        lambda model, images: model(images, output_hidden_states=True).hidden_states,
        None,
    ),
}
MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]


def save_named(name, folder):
    """Write a tiny model of transformers with random weights, its norms too, and an image processor's file.

    Returns:
        The model in eval mode, the function to its maps, and its stride if it is plain.
    """
    model, maps, stride = NAMED[name]()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": MEAN, "image_std": STD, "do_rescale": True, "rescale_factor": 1 / 255})
    )
    return model.eval(), maps, stride
