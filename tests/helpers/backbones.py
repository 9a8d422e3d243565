"""Tiny backbones that aren't ours, transformers' own and timm's, and models over them."""

import pytest
from transformers import ConvNextConfig, ResNetConfig, SwinConfig, TimmBackboneConfig

from modeling_ocrnet import OCRNetConfig, OCRNetForSemanticSegmentation

STAGES = ["stage1", "stage2", "stage3", "stage4"]


def timm_config(name, **fields):
    pytest.importorskip("timm")
    return TimmBackboneConfig(backbone=name, **fields)


# (the backbone's config, the stride of its first map)
BACKBONES = {
    "resnet": lambda: (
        ResNetConfig(embedding_size=8, hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], out_features=STAGES),
        4,
    ),
    "convnext": lambda: (
        ConvNextConfig(hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], out_features=STAGES),
        4,
    ),
    "swin": lambda: (
        SwinConfig(embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4, out_features=STAGES),
        4,
    ),
    "timm_mobilenetv3": lambda: (timm_config("mobilenetv3_small_050", out_indices=[1, 2, 3, 4]), 4),
    "timm_resnet_stride_8": lambda: (timm_config("resnet18", out_indices=[2, 3, 4], output_stride=8), 8),
}


def model_over(backbone, indices, **fields):
    config = OCRNetConfig(
        backbone_config=backbone,
        num_labels=5,
        ocr_channels=16,
        key_channels=8,
        ocr_in_indices=indices,
        auxiliary_in_indices=indices,
        **fields,
    )
    return OCRNetForSemanticSegmentation(config)
