"""Learning rates and weight decay by parameter: `lr_multipliers`, `layer_decay`, `decay_norms_and_biases`."""

import copy
import json
from types import SimpleNamespace

import pytest
import torch
from helpers.tiny import tiny_config
from torch import nn
from transformers import AutoBackbone, ConvNextConfig, SwinConfig, TimmBackboneConfig

from modeling_ocrnet import OCRNetConfig, OCRNetForSemanticSegmentation
from modeling_ocrnet.cli.recipe_parser import parse_recipe, recipe_parser
from modeling_ocrnet.common.errors import UserError
from modeling_ocrnet.gradient_checkpointing import make_checkpointable
from modeling_ocrnet.training import loop
from modeling_ocrnet.training import recipe as R
from modeling_ocrnet.training.build import build_accelerator
from modeling_ocrnet.training.optimization import build_optimizer
from modeling_ocrnet.training.parameter_groups import layer_factors, parameter_groups
from modeling_ocrnet.training.step import set_learning_rate, unscaled_rate

SHAPE = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 2, 1, 1]}
STAGES = {"out_features": ["stage1", "stage2", "stage3", "stage4"]}


@pytest.fixture
def model():
    return OCRNetForSemanticSegmentation(tiny_config(num_labels=5))


def fields_by_name(model, options) -> dict[str, dict]:
    """What the optimizer does to each parameter that it has."""
    names = {id(x): name for name, x in model.named_parameters()}
    groups = parameter_groups(model, options)
    keys = [(x["base_lr"], x["lr_scale"], x["weight_decay"]) for x in groups]
    heads = [not names[id(x["params"][0])].startswith("backbone.") for x in groups]
    assert len(set(zip(heads, keys, strict=True))) == len(groups)  # equal ones are one group
    return {names[id(x)]: group for group in groups for x in group["params"]}


def test_default_options_give_the_groups_of_older_checkpoints(model):
    groups = parameter_groups(model, R.OptimizerRecipe())
    backbone = list(model.backbone.parameters())
    heads = [x for name, x in model.named_parameters() if not name.startswith("backbone.")]
    assert [[id(x) for x in group["params"]] for group in groups] == [[id(x) for x in y] for y in (backbone, heads)]
    assert [(x["base_lr"], x["lr_scale"], x["weight_decay"]) for x in groups] == [(0.01, 1.0, 5e-4)] * 2


def test_the_longest_beginning_counts(model):
    multipliers = {"backbone": 0.5, "backbone.stage4.": 0.25, "backbone.stage4.0.fuse_layers": 2, "ocr_head": 3}
    found = fields_by_name(model, R.OptimizerRecipe(lr_multipliers=multipliers, head_lr_multiplier=10))
    assert found.keys() == dict(model.named_parameters()).keys()
    for name, group in found.items():
        expected = 1.0 if name.startswith("auxiliary_head") else 3.0 if name.startswith("ocr_head") else 0.5
        if name.startswith("backbone.stage4.0."):
            expected = 2.0 if "fuse_layers" in name else 0.25
        assert group["lr_scale"] == expected, name
        assert group["base_lr"] == pytest.approx(0.01 if name.startswith("backbone") else 0.1), name


def test_a_beginning_ends_where_a_part_of_the_name_does():
    class Numbered(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = nn.ModuleList(nn.Linear(1, 1) for _ in range(11))

    found = fields_by_name(Numbered(), R.OptimizerRecipe(lr_multipliers={"backbone.1": 0.5}))
    assert {name for name, x in found.items() if x["lr_scale"] == 0.5} == {"backbone.1.weight", "backbone.1.bias"}


@pytest.mark.parametrize(
    ("beginning", "hint"),
    [
        ("ocr_heads", r"did you mean ocr_head\b.*There are backbone, auxiliary_head, ocr_head, and"),
        ("backbone.stage", r"did you mean .*backbone\.stage\d"),
        ("decode_head", "There are backbone, auxiliary_head, ocr_head, and"),
    ],
)
def test_a_beginning_of_no_name_is_refused(model, beginning, hint):
    with pytest.raises(UserError, match=f"lr_multipliers has '{beginning}', but no .*{hint}") as refused:
        parameter_groups(model, R.OptimizerRecipe(lr_multipliers={beginning: 0.5}))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"lr_multipliers": {"backbone": 0}}, r"optimizer.lr_multipliers.backbone must be positive \(model.freeze"),
        ({"lr_multipliers": {"ocr_head.fusion": -1}}, r"optimizer.lr_multipliers.ocr_head.fusion must be positive"),
        ({"lr_multipliers": {"backbone": float("inf")}}, "optimizer.lr_multipliers.backbone must be a finite number"),
        ({"layer_decay": 0}, "optimizer.layer_decay must be positive"),
        ({"layer_decay": 1.1}, "optimizer.layer_decay must be at most 1"),
    ],
)
def test_values_out_of_range(fields, message):
    with pytest.raises(UserError, match=message):
        R.Recipe(optimizer=R.OptimizerRecipe(**fields))


def test_multipliers_on_the_command_line(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text("optimizer:\n  lr_multipliers: {backbone: 0.1, ocr_head.classifier: 10}\n")
    recipe, _ = parse_recipe(recipe_parser(), ["--config", str(file)])
    assert recipe.optimizer.lr_multipliers == {"backbone": 0.1, "ocr_head.classifier": 10.0}
    argv = ["--optimizer.lr_multipliers", "{backbone: 0.5, ocr_head.classifier: 2}"]
    recipe, _ = parse_recipe(recipe_parser(), argv)
    assert recipe.optimizer.lr_multipliers == {"backbone": 0.5, "ocr_head.classifier": 2.0}


# (exponent of the decay, pattern of names), by hand: 5 blocks
DEPTHS = {
    "convnext": (
        ConvNextConfig(**SHAPE, **STAGES),
        [
            (6, "embeddings."),
            (5, "encoder.stages.0."),
            (4, "encoder.stages.1.downsampling_layer."),
            (4, "encoder.stages.1.layers.0."),
            (3, "encoder.stages.1.layers.1."),
            (2, "encoder.stages.2."),
            (1, "encoder.stages.3."),
            (0, "hidden_states_norms."),
        ],
    ),
    "swin": (  # its stages are layers that can be checkpointed, and the blocks are in them
        SwinConfig(embed_dim=8, depths=[1, 2, 1, 1], num_heads=[1, 2, 2, 2], window_size=4, **STAGES),
        [
            (6, "embeddings."),
            (5, "encoder.layers.0.blocks."),
            (4, "encoder.layers.0.downsample."),
            (4, "encoder.layers.1.blocks.0."),
            (3, "encoder.layers.1.blocks.1."),
            (2, "encoder.layers.1.downsample."),
            (2, "encoder.layers.2.blocks."),
            (1, "encoder.layers.2.downsample."),
            (1, "encoder.layers.3.blocks."),
            (0, "hidden_states_norms."),
            (0, "layernorm."),
        ],
    ),
}


@pytest.mark.parametrize("name", DEPTHS)
def test_decay_by_layers(name):
    config, expected = DEPTHS[name]
    model = OCRNetForSemanticSegmentation(OCRNetConfig(backbone_config=config, ocr_channels=8, key_channels=8))
    multipliers = {"backbone.hidden_states_norms": 7}
    found = fields_by_name(model, R.OptimizerRecipe(layer_decay=0.5, lr_multipliers=multipliers))
    met = set()
    for parameter, group in found.items():
        inner = parameter.removeprefix("backbone.").removeprefix("swin.")
        exponent = next((power for power, begin in expected if inner.startswith(begin)), 0)
        assert parameter.startswith("backbone.") or exponent == 0
        times = 7 if inner.startswith("hidden_states_norms.") else 1
        assert group["lr_scale"] == 0.5**exponent * times, parameter
        met.add(exponent)
    assert met == set(range(7))


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "convnext_atto"])
def test_decay_by_layers_is_timms(name):
    """But for a transformer's last norm: timm gives it the last block's factor, BEiT and this package 1."""
    timm, optim = pytest.importorskip("timm"), pytest.importorskip("timm.optim")
    config = TimmBackboneConfig(backbone=name, use_pretrained_backbone=False, out_indices=[-1])
    with torch.device("meta"):
        theirs = timm.create_model(name, num_classes=10)
        ours = AutoBackbone.from_config(config)
    make_checkpointable(ours)  # as the model does
    factors = layer_factors(SimpleNamespace(backbone=ours), 0.5)
    scales = {
        id(x): group["lr_scale"]
        for group in optim.param_groups_layer_decay(theirs, layer_decay=0.5)
        for x in group["params"]
    }
    expected = {parameter.replace("_", "."): scales[id(x)] for parameter, x in theirs.named_parameters()}
    compared = set()
    for parameter, factor in factors.items():
        inner = parameter.removeprefix("backbone._backbone.").removeprefix("model.").replace("_", ".")
        if inner in ("norm.weight", "norm.bias"):
            assert (factor, expected[inner]) == (1.0, 0.5)
            continue
        assert factor == expected[inner], inner
        compared.add(inner)
    assert {x for x in expected if not x.startswith(("head.", "norm."))} == compared


def test_decay_by_layers_is_refused_where_there_are_none_in_a_row(model):
    with pytest.raises(UserError, match="layer_decay needs blocks one after another, but HRNet's branches run side"):
        parameter_groups(model, R.OptimizerRecipe(layer_decay=0.9))
    plain = nn.ModuleDict({"backbone": nn.Linear(1, 1), "head": nn.Linear(1, 1)})
    with pytest.raises(UserError, match="but this backbone has no repeated blocks"):
        parameter_groups(plain, R.OptimizerRecipe(layer_decay=0.9))


def test_norms_biases_tokens_and_positions_without_decay():
    class Backbone(nn.Module):
        def __init__(self):
            super().__init__()
            names = ["cls_token", "mask_token", "reg_token", "pos_embed", "position_embeddings", "rel_pos_h"]
            for name in [*names, "register_tokens", "relative_position_bias_table"]:
                self.register_parameter(name, nn.Parameter(torch.zeros(1, 2, 3)))
            self.position_embeddings_of = nn.Embedding(2, 3)
            self.tokens_to_maps = nn.Conv2d(3, 4, 1)
            self.norm = nn.LayerNorm(4)
            self.gamma = nn.Parameter(torch.zeros(()))

    model = nn.ModuleDict({"backbone": Backbone(), "head": nn.Conv2d(4, 5, 3)})
    options = R.OptimizerRecipe(decay_norms_and_biases=False, weight_decay=0.1)
    found = fields_by_name(model, options)
    decayed = {name for name, group in found.items() if group["weight_decay"]}
    assert decayed == {"backbone.tokens_to_maps.weight", "head.weight"}
    assert {group["weight_decay"] for group in found.values()} == {0.0, 0.1}
    assert found.keys() == dict(model.named_parameters()).keys()


def test_steps_by_hand(quick_recipe):
    """SGD without momentum: w - lr f (g + d w), f over the whole schedule, its floor included; d only for weights."""
    recipe = quick_recipe(
        optimizer=R.OptimizerRecipe(
            lr=0.02,
            momentum=0.0,
            weight_decay=0.1,
            decay_norms_and_biases=False,
            head_lr_multiplier=3.0,
            lr_multipliers={"backbone": 0.5, "backbone.layer1": 0.125, "ocr_head.classifier": 4.0},
        ),
        schedule=R.ScheduleRecipe(max_steps=3, power=1.0, min_lr=0.002),
    )
    experiment = loop.build(recipe, build_accelerator(recipe))
    gradients, model = {}, experiment.bare_model
    experiment.optimizer.optimizer.register_step_pre_hook(
        lambda *_: gradients.update({name: x.grad.clone() for name, x in model.named_parameters()})
    )
    batches = loop.build_batches(experiment, 0)
    for step in range(3):
        before = copy.deepcopy(dict(model.named_parameters()))
        loop.train_step(experiment, batches, step)
        assert unscaled_rate(experiment) == pytest.approx([0.02, 0.011, 0.002][step])
        for name, parameter in model.named_parameters():
            if name.startswith("backbone."):
                rate = [0.02, 0.011, 0.002][step] * (0.125 if name.startswith("backbone.layer1.") else 0.5)
            else:
                rate = [0.06, 0.031, 0.002][step] * (4.0 if name.startswith("ocr_head.classifier.") else 1.0)
            old = before[name].detach()
            decay = 0.1 if parameter.ndim > 1 else 0.0
            torch.testing.assert_close(
                parameter.detach(), old - rate * (gradients[name] + decay * old), rtol=1e-5, atol=1e-7, msg=name
            )


def test_frozen_parameters_are_in_no_group(model):
    model.backbone.requires_grad_(False)
    found = fields_by_name(model, R.OptimizerRecipe(lr_multipliers={"backbone": 0.1}))
    assert {name.partition(".")[0] for name in found} == {"auxiliary_head", "ocr_head"}
    recipe = R.Recipe(optimizer=R.OptimizerRecipe(name="adamw"))
    assert len(build_optimizer(model, recipe).param_groups) == 1


def test_a_state_of_groups_without_scales_is_taken(model):
    """Of a run that an older version began."""
    recipe = R.Recipe(optimizer=R.OptimizerRecipe(head_lr_multiplier=2.0))
    optimizer = build_optimizer(model, recipe)
    state = optimizer.state_dict()
    for group in state["param_groups"]:
        del group["lr_scale"]
    optimizer.load_state_dict(state)
    experiment = SimpleNamespace(recipe=recipe, optimizer=optimizer, budget=None)
    set_learning_rate(experiment, 0)
    assert [x["lr"] for x in optimizer.param_groups] == [0.01, 0.02]
    assert unscaled_rate(experiment) == 0.01


def test_the_log_has_the_rate_of_the_recipe(quick_recipe, tmp_path):
    recipe = quick_recipe(
        optimizer=R.OptimizerRecipe(lr=0.01, lr_multipliers={"backbone": 0.1}),
        schedule=R.ScheduleRecipe(max_steps=1, min_lr=0.01),
    )
    loop.train(recipe)
    (line, *_) = (tmp_path / "run/metrics.jsonl").read_text().splitlines()
    assert json.loads(line)["lr"] == pytest.approx(0.01)
