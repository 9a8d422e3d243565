"""Batch norms that stay in eval mode in training, and parts of a model that aren't trained (`model.freeze`)."""

import copy
import pickle
import re
import warnings
import weakref
from types import SimpleNamespace

import pytest
import torch
from helpers import multiprocess
from helpers.signals import stop_after
from helpers.tiny import TINY_BACKBONE, tiny_config
from safetensors.torch import load_file
from torch import nn
from transformers import AutoBackbone, ConvNextConfig, Dinov2Config, ResNetConfig, SwinConfig

from modeling_ocrnet import OCRNetConfig, OCRNetForSemanticSegmentation
from modeling_ocrnet.common.errors import UserError
from modeling_ocrnet.training import loop
from modeling_ocrnet.training import recipe as R
from modeling_ocrnet.training.backbone_parts import first_stages
from modeling_ocrnet.training.build import build_accelerator
from modeling_ocrnet.training.freezing import keep_batch_norms_in_eval


class WithActivation(nn.BatchNorm2d):
    def forward(self, x):
        return super().forward(x).relu()


def test_norms_stay_in_eval_mode():
    x = torch.randn(4, 3, 8, 8)
    model = nn.Sequential(nn.Dropout(), nn.BatchNorm2d(3), WithActivation(3), nn.SyncBatchNorm(3))
    before = copy.deepcopy(model.state_dict())
    expected = copy.deepcopy(model).eval()(x)
    assert keep_batch_norms_in_eval(keep_batch_norms_in_eval(model)) is model
    for copied in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        copied.train()
        assert [part.training for part in copied] == [True, False, False, False]
        assert torch.equal(copied[1:](x), expected)
        copied[1:](x).sum().backward()
        assert copied[1].weight.grad is not None
        assert copied.state_dict().keys() == before.keys()
        assert all(torch.equal(value, before[name]) for name, value in copied.state_dict().items())


def test_norms_of_one_dimension():
    assert not keep_batch_norms_in_eval(nn.BatchNorm1d(3)).train().training


def test_a_part_of_a_model():
    model = OCRNetForSemanticSegmentation(tiny_config())
    keep_batch_norms_in_eval(model.backbone.layer1)
    model.train()
    norms = {name: x for name, x in model.named_modules() if isinstance(x, nn.BatchNorm2d)}
    still = {name for name, norm in norms.items() if not norm.training}
    assert still == {name for name in norms if name.startswith("backbone.layer1.")} != set()


SHAPE = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 2, 1, 1]}
STAGES = {"out_features": ["stage1", "stage2", "stage3", "stage4"]}
OTHERS = {
    "resnet": (
        ResNetConfig(embedding_size=8, layer_type="basic", **SHAPE, **STAGES),
        r"embedder\.",
        [rf"encoder\.stages\.{i}\." for i in range(4)],
    ),
    "convnext": (
        ConvNextConfig(**SHAPE, **STAGES),
        r"embeddings\.",
        [rf"encoder\.stages\.{i}\.|hidden_states_norms\.stage{i + 1}\." for i in range(4)],
    ),
    "swin": (  # the layers between two stages are named after the first
        SwinConfig(embed_dim=8, depths=[1, 2, 1, 1], num_heads=[1, 2, 2, 2], window_size=4, **STAGES),
        r"(swin\.)?embeddings\.",
        [
            rf".*encoder\.layers\.{i}\.(?!downsample)|.*encoder\.layers\.{i - 1}\.downsample|"
            rf"hidden_states_norms\.stage{i + 1}\."
            for i in range(4)
        ],
    ),
}
HRNET = (r"(conv|bn)\d\.", [r"layer1\.", *(rf"(transition{i}|stage{i + 1})\." for i in (1, 2, 3))])


def expected_stages(backbone, stem: str, stages: list[str], count: int) -> set[str]:
    patterns = [stem, *stages[:count]]
    return {name for name, _ in backbone.named_parameters() if any(re.match(x, name) for x in patterns)}


@pytest.mark.parametrize("name", ["hrnet", *OTHERS])
def test_stages_are_those_that_the_names_tell(name):
    config, stem, stages = (None, *HRNET) if name == "hrnet" else OTHERS[name]
    if name == "hrnet":
        model = OCRNetForSemanticSegmentation(tiny_config())
    else:
        model = OCRNetForSemanticSegmentation(OCRNetConfig(backbone_config=config, ocr_channels=8, key_channels=8))
    state = copy.deepcopy(model.state_dict())
    counts = []
    for count in range(5):
        found = first_stages(model, count)
        assert found == expected_stages(model.backbone, stem, stages, count)
        counts.append(len(found))
    assert 0 < counts[0] < counts[1] < counts[2] < counts[3] < counts[4]
    assert model.backbone.training
    assert all(torch.equal(x, state[key]) for key, x in model.state_dict().items())  # no norm has seen the image


def test_stages_of_a_plain_transformer_are_its_blocks():
    config = Dinov2Config(hidden_size=16, num_hidden_layers=3, num_attention_heads=2, image_size=28, patch_size=14)
    model = SimpleNamespace(backbone=AutoBackbone.from_config(config), config=SimpleNamespace(pyramid_stride=14))
    assert {x.partition(".")[0] for x in first_stages(model, 0)} == {"embeddings"}
    of_blocks = [{x for x, _ in model.backbone.named_parameters() if f".{i}." in x} for i in range(3)]
    assert first_stages(model, 2) == first_stages(model, 0) | of_blocks[0] | of_blocks[1]
    with pytest.raises(UserError, match="model.freeze is 4, but the backbone has 3 stages: choose 0 .* to 3, or back"):
        first_stages(model, 4)


@pytest.mark.parametrize("count", [-1, 5])
@pytest.mark.parametrize("name", ["hrnet", *OTHERS])
def test_stages_that_are_not_there(name, count):
    config = tiny_config().backbone_config if name == "hrnet" else OTHERS[name][0]
    model = OCRNetForSemanticSegmentation(OCRNetConfig(backbone_config=config, ocr_channels=8, key_channels=8))
    with pytest.raises(UserError, match=f"model.freeze is {count}, but the backbone has 4 stages") as refused:
        first_stages(model, count)
    assert "\n" not in str(refused.value)


def test_a_backbone_that_cannot_be_run():
    class Strict(nn.Module):
        config = SimpleNamespace(image_size=50)

        def forward(self, image):
            assert image.shape[-1] == 51, "images of 51 pixels"

    model = SimpleNamespace(backbone=Strict(), config=SimpleNamespace(pyramid_stride=None))
    with pytest.raises(UserError, match=r"can't be run on an image of any of the sizes .* 50\] .*images of 51 pixels"):
        first_stages(model, 1)


@pytest.fixture
def freezing(quick_recipe, tmp_path):
    """A recipe that freezes a part, of which the run's folder is named."""

    def make(part, name: str = "run", gradient_checkpointing: bool = False, **fields) -> R.Recipe:
        heads = {"ocr_channels": 16, "key_channels": 8, "dropout": 0.5}
        options = {"freeze": part, "ema_decay": 0.9, "gradient_checkpointing": gradient_checkpointing}
        model = R.ModelRecipe("hr18s", None, heads, TINY_BACKBONE, **options)
        return quick_recipe(model=model, schedule=R.ScheduleRecipe(max_steps=4), output=str(tmp_path / name), **fields)

    return make


OPTIMIZERS = {
    "sgd": {"name": "sgd", "clip_norm": 1.0},
    "adamw": {"name": "adamw", "lr": 1e-3, "clip_norm": 1.0},
}


@pytest.mark.parametrize(
    ("part", "kind", "checkpointing"),
    [(0, "sgd", True), (2, "adamw", False), (2, "sgd", True), (4, "adamw", True), ("backbone", "sgd", False)],
)
def test_what_is_frozen_stays_to_the_bit(part, kind, checkpointing, freezing):
    """Weights, running statistics and their counters, in the average too; all else moves."""
    recipe = freezing(part, gradient_checkpointing=checkpointing, optimizer=R.OptimizerRecipe(**OPTIMIZERS[kind]))
    experiment = loop.build(recipe, build_accelerator(recipe))
    model = experiment.bare_model
    before = copy.deepcopy(model.state_dict())
    batches = loop.build_batches(experiment, 0)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*(grad|checkpoint).*")
        for step in range(3):
            loop.train_step(experiment, batches, step)
    stem, stages = HRNET
    patterns = [rf"backbone\.({x})" for x in (stem, *stages[: 4 if part == "backbone" else part])]
    frozen = {name for name in before if any(re.match(x, name) for x in patterns)}
    for state in (model.state_dict(), experiment.ema.module.state_dict()):
        assert {name for name in frozen if not torch.equal(state[name], before[name])} == set()
    moved = {name for name, x in model.state_dict().items() if not torch.equal(x, before[name])}
    assert moved == before.keys() - frozen
    assert sum(len(x["params"]) for x in experiment.optimizer.param_groups) == len(
        [name for name, _ in model.named_parameters() if name not in frozen]
    )


class Kept:
    """A tensor that the backward pass will need."""

    def __init__(self, tensor: torch.Tensor):
        self.tensor = tensor


def kept_tensors(model, images) -> int:
    """How many tensors a forward pass of the backbone leaves in memory for the backward pass."""
    references = []

    def keep(tensor):
        kept = Kept(tensor)
        references.append(weakref.ref(kept))
        return kept

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x.tensor):
        maps = model.backbone(images).feature_maps
    assert len(maps) == 4  # they, and with them their graph, are there still
    return sum(x() is not None for x in references)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_frozen_backbone_keeps_no_activations(checkpointing, freezing):
    found = {}
    for part in (None, 3, "backbone"):
        recipe = freezing(part, gradient_checkpointing=checkpointing)
        experiment = loop.build(recipe, build_accelerator(recipe))
        found[part] = kept_tensors(experiment.bare_model, torch.randn(2, 3, 32, 64))
    assert found["backbone"] == 0 < found[3] < found[None]


def test_the_log_says_what_is_frozen(freezing, caplog):
    recipe = freezing(1)
    with caplog.at_level("INFO"):
        experiment = loop.build(recipe, build_accelerator(recipe))
    model = experiment.bare_model
    stem, (first, *_) = HRNET
    names = expected_stages(model.backbone, stem, [first], 1)
    frozen = sum(x.numel() for name, x in model.backbone.named_parameters() if name in names)
    count = sum(x.numel() for x in model.parameters())
    norms = sum(
        name.endswith("running_mean") and re.match(f"{stem}|{first}", name) is not None
        for name, _ in model.backbone.named_buffers()
    )
    assert f"frozen: {frozen} of {count} parameters, and the statistics of {norms} batch norms" in caplog.text


@pytest.mark.slow
def test_a_resumed_run_is_the_uninterrupted_one(freezing):
    """With other groups of the optimizer than a run that trains all."""
    optimizer = R.OptimizerRecipe(decay_norms_and_biases=False, lr_multipliers={"backbone": 0.5, "ocr_head.fusion": 3})
    whole = loop.train(freezing(2, "whole", optimizer=optimizer)).parent
    recipe = freezing(2, "parts", optimizer=optimizer)
    with stop_after(3), pytest.raises(SystemExit):
        loop.train(recipe)
    parts = loop.train(recipe, resume="last").parent
    for name in ("model", "model_ema"):
        ours, theirs = (load_file(x / name / "model.safetensors") for x in (whole, parts))
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.distributed
@pytest.mark.slow
def test_two_processes_train_as_one(freezing, tmp_path):
    def make_recipe(name: str) -> R.Recipe:
        recipe = freezing("backbone", name, optimizer=R.OptimizerRecipe(lr=1e-4))
        recipe.model.config["dropout"], recipe.schedule.min_lr = 0.0, 1e-5
        return recipe

    losses = multiprocess.losses_of_one_and_two(make_recipe, tmp_path)
    assert losses[2]["losses"] == pytest.approx(losses[1]["losses"], abs=1e-4)
    assert losses[2]["statistics"] == losses[1]["statistics"] == [0.0] * 8
