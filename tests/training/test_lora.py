"""Adapters by recipe: what is trained, what a run leaves, how it is resumed, and what is refused."""

import copy
import json
import re
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate import DistributedType
from accelerate.state import AcceleratorState
from accelerate.utils import set_seed
from helpers import multiprocess
from helpers.signals import stop_after
from helpers.tiny import TINY_BACKBONE, freeze_statistics, tiny_config
from safetensors.torch import load_file
from torch import nn
from transformers import ConvNextConfig, ResNetConfig

from modeling_ocrnet import OCRNetConfig, OCRNetForSemanticSegmentation, OCRNetImageProcessor, data
from modeling_ocrnet.common.errors import MissingPackageError, UserError
from modeling_ocrnet.evaluation.mean_iou import MeanIoU
from modeling_ocrnet.inference.segmentation import segment
from modeling_ocrnet.training import loop
from modeling_ocrnet.training import recipe as R
from modeling_ocrnet.training.build import build_accelerator, build_model
from modeling_ocrnet.training.lora import add_adapters
from modeling_ocrnet.training.parameter_groups import layer_factors
from modeling_ocrnet.training.sharding import set_up_sharding

peft = pytest.importorskip("peft")


@pytest.fixture
def base(tmp_path):
    """A model of the street scenes' classes, whose norms' statistics are those of a batch of noise."""
    torch.manual_seed(0)
    model = OCRNetForSemanticSegmentation(tiny_config(id2label=dict(enumerate(data.label_set("street_scenes").names))))
    freeze_statistics(model)
    model.save_pretrained(tmp_path / "base")
    OCRNetImageProcessor().save_pretrained(tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def adapting(quick_recipe, tmp_path):
    """A recipe with adapters, of which the run's folder is named; fields of the recipe's groups win."""

    def make(name: str = "run", model=(), lora=(), **fields) -> R.Recipe:
        heads = {"ocr_channels": 16, "key_channels": 8, "dropout": 0.5}
        scratch = {"variant": "hr18s", "backbone": None, "config": heads, "backbone_config": TINY_BACKBONE}
        options = dict(model)
        defaults = {
            "model": R.ModelRecipe(**(options if "init_from" in options else scratch | options)),
            "lora": R.LoraRecipe(**{"rank": 2, "alpha": 4.0, **dict(lora)}),
            "optimizer": R.OptimizerRecipe(name="adamw", lr=0.01),
            "schedule": R.ScheduleRecipe(max_steps=3, min_lr=1e-3),
            "output": str(tmp_path / name),
        }
        return quick_recipe(**{**defaults, **fields})

    return make


@torch.no_grad()
def logits(model, images):
    return model.eval()(images).logits


def norms(model) -> dict[str, nn.Module]:
    return {name: x for name, x in model.named_modules() if isinstance(x, nn.BatchNorm2d)}


@pytest.mark.slow
def test_what_a_run_leaves(adapting, base, scenes):
    """A whole model, and its adapter beside it; over the model it started from, the adapter computes the same."""
    recipe = adapting(model={"init_from": str(base), "ema_decay": 0.5})
    output = loop.train(recipe).parent
    images = 2 * torch.randn(2, 3, 32, 64) + 1
    before = load_file(base / "model.safetensors")
    seen = {}
    for whole, beside in (("model", "adapter"), ("best", "adapter_best"), ("model_ema", "adapter_ema")):
        weights = load_file(output / whole / "model.safetensors")
        assert weights.keys() == before.keys()
        for name in (x for x in before if "running" in x or "tracked" in x):
            assert torch.equal(weights[name], before[name]), name
        model, info = OCRNetForSemanticSegmentation.from_pretrained(output / whole, output_loading_info=True)
        assert not any(info.values())
        assert not (output / whole / "adapter_config.json").exists()
        seen[whole] = expected = logits(model, images)
        start = OCRNetForSemanticSegmentation.from_pretrained(base)
        assert (logits(start, images) - expected).abs().max() > 0.05
        loaded = peft.PeftModel.from_pretrained(start, output / beside)
        torch.testing.assert_close(logits(loaded, images), expected, rtol=1e-4, atol=1e-4)
        fused = loaded.merge_and_unload().fuse()
        torch.testing.assert_close(logits(fused, images), expected, rtol=1e-4, atol=1e-4)
        config = json.loads((output / beside / "adapter_config.json").read_text())
        assert (config["base_model_name_or_path"], config["r"]) == (str(base), 2)
    assert (seen["model"] - seen["model_ema"]).abs().max() > 1e-3

    model = OCRNetForSemanticSegmentation.from_pretrained(output / "model").eval()
    processor, scored = OCRNetImageProcessor.from_pretrained(output / "model"), MeanIoU()
    for row in data.load("street_scenes", scenes, "val").select(range(2)):
        scored.add(prediction=segment(model, processor, [row["image"]])[0], reference=np.asarray(row["label"]))
    found = json.loads((output / "model/metrics.json").read_text())["overall_accuracy"]
    assert scored.compute(num_labels=19)["overall_accuracy"] == pytest.approx(found, abs=1e-3)


@pytest.mark.slow
def test_an_adapter_from_a_backbone_alone_holds_the_heads(adapting):
    """Their norms' statistics too: over the same backbone with any heads it computes what the run's model does."""
    recipe = adapting()
    output, images = loop.train(recipe).parent, torch.randn(2, 3, 32, 64)
    set_seed(recipe.seed)
    start = build_model(recipe, data.label_set("street_scenes"))
    for part in (start.auxiliary_head, start.ocr_head):
        for tensor in part.state_dict().values():
            tensor.fill_(3)
    loaded = peft.PeftModel.from_pretrained(start, output / "adapter")
    model = OCRNetForSemanticSegmentation.from_pretrained(output / "model")
    torch.testing.assert_close(logits(loaded, images), logits(model, images), rtol=1e-4, atol=1e-4)
    config = json.loads((output / "adapter/adapter_config.json").read_text())
    assert config["base_model_name_or_path"] is None


@pytest.mark.parametrize("checkpointing", [False, True])
def test_what_is_trained_from_a_backbone_alone(adapting, checkpointing):
    """The backbone's adapters, and the heads whole, their norms' statistics too; nothing else moves."""
    recipe = adapting(model={"gradient_checkpointing": checkpointing})
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*(checkpoint|grad|embedding).*")
        experiment = loop.build(recipe, build_accelerator(recipe))
        model = experiment.bare_model
        before, batches = copy.deepcopy(model.state_dict()), loop.build_batches(experiment, 0)
        for step in range(3):  # an adapter's first factor has a gradient from the second step on
            loop.train_step(experiment, batches, step)
    moved = {name for name, x in model.state_dict().items() if not torch.equal(x, before[name])}
    heads = ("auxiliary_head.modules_to_save.", "ocr_head.modules_to_save.")
    assert {name for name in moved if ".lora_" in name} == {name for name in before if ".lora_" in name} != set()
    assert {name for name in moved if ".lora_" not in name} == {name for name in before if name.startswith(heads)}
    assert all(name.startswith("backbone.") for name in moved if ".lora_" in name)
    convolutions = [x for x in model.backbone.modules() if type(x) is nn.Conv2d]
    adapted = [x for x in model.backbone.modules() if hasattr(x, "lora_A")]
    assert len(convolutions) == 3 * len(adapted)  # each, and its two factors
    assert any(getattr(x, "gradient_checkpointing", False) for x in model.modules()) == checkpointing
    in_training = {name for name, norm in norms(model.train()).items() if norm.training}
    assert {x for x in norms(model) if x.startswith(heads)} == {x for x in in_training if x.startswith(heads)} != set()
    assert not [name for name in in_training if name.startswith("backbone.")]


def test_what_is_trained_from_a_whole_model(adapting, base):
    recipe = adapting(model={"init_from": str(base)})
    model = loop.build(recipe, build_accelerator(recipe)).bare_model
    trained = {name for name, x in model.named_parameters() if x.requires_grad}
    whole = {name for name in trained if ".lora_" not in name}
    assert {name.partition(".modules_to_save")[0] for name in whole} == {
        "auxiliary_head.classifier",
        "ocr_head.classifier",
    }
    assert {name.partition(".")[0] for name in trained - whole} == {"backbone", "auxiliary_head", "ocr_head"}
    assert not [name for name, norm in norms(model.train()).items() if norm.training]


def test_the_log_says_what_is_trained(adapting, caplog):
    recipe = adapting()
    with caplog.at_level("INFO"):
        model = loop.build(recipe, build_accelerator(recipe)).bare_model
    trained = sum(x.numel() for x in model.parameters() if x.requires_grad)
    plain = OCRNetForSemanticSegmentation(model.config)
    share = trained / sum(x.numel() for x in plain.parameters())
    layers = sum(isinstance(x, nn.Conv2d) for x in plain.backbone.modules())
    assert f"LoRA of rank 2 in {layers} layers: {trained} weights are trained, {share:.1%} as many" in caplog.text
    assert "(whole: auxiliary_head, ocr_head)" in caplog.text


def test_named_layers(adapting, base):
    recipe = adapting(
        model={"init_from": str(base), "freeze": 1},
        lora={"target_modules": ["conv1", "out.conv"], "train_whole": ["fusion", "fusion.conv"]},
    )
    model = loop.build(recipe, build_accelerator(recipe)).bare_model
    adapted = {name for name, x in model.named_modules() if hasattr(x, "lora_A")}
    frozen = ("backbone.conv1", "backbone.layer1.")
    plain = OCRNetForSemanticSegmentation.from_pretrained(base)
    names = {name for name, x in plain.named_modules() if isinstance(x, nn.Conv2d)}
    expected = {x for x in names if x.endswith((".conv1", ".out.conv")) and not x.startswith(frozen)}
    assert adapted == expected
    assert "backbone.stage2.0.branches.0.0.conv1" in adapted
    assert {name.partition(".modules_to_save")[0] for name, x in model.named_parameters() if x.requires_grad} == {
        "ocr_head.fusion",
        *(f"{name}.lora_{x}.default.weight" for name in adapted for x in "AB"),
    }
    in_training = [name for name, norm in norms(model.train()).items() if norm.training]
    assert [x for x in in_training if ".original_module" not in x] == ["ocr_head.fusion.modules_to_save.default.norm"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"lora": {"target_modules": ["conv9"]}}, "lora.target_modules has 'conv9', but that is the end of the name"),
        ({"lora": {"target_modules": ["onv1"]}}, "lora.target_modules has 'onv1'"),
        ({"lora": {"target_modules": ["bn1"]}}, "lora.target_modules has 'bn1'.* no convolution or linear layer"),
        ({"lora": {"train_whole": ["decoder"]}}, "lora.train_whole has 'decoder', but that is the end of the name of"),
        ({"model": {"freeze": "backbone"}}, "lora.rank is set, but no layer is left to adapt: freeze less"),
    ],
)
def test_names_of_no_layer(adapting, fields, message):
    recipe = adapting(**fields)
    with pytest.raises(UserError, match=message) as refused:
        loop.build(recipe, build_accelerator(recipe))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("lora", "message"),
    [
        ({"rank": 0}, "lora.rank must be positive"),
        ({"rank": -2}, "lora.rank must be positive"),
        ({"rank": 2, "alpha": 0.0}, "lora.alpha must be positive"),
        ({"rank": 2, "dropout": 1.0}, "lora.dropout must be below 1"),
        ({"rank": 2, "dropout": -0.1}, "lora.dropout must be 0 or more"),
    ],
)
def test_values_out_of_range(lora, message):
    with pytest.raises(UserError, match=message):
        R.Recipe(lora=R.LoraRecipe(**lora))


@pytest.mark.parametrize("name", ["target_modules", "train_whole"])
def test_names_without_a_rank(name):
    with pytest.raises(UserError, match=f"lora.{name} is given, but lora.rank isn't"):
        R.LoraRecipe(**{name: ["conv1"]})


@pytest.mark.parametrize("kind", [DistributedType.FSDP, DistributedType.DEEPSPEED])
def test_sharded_weights_are_not_adapted(adapting, kind):
    with pytest.raises(UserError, match=f"lora.rank adds adapters, .* but {kind.value} shards them"):
        set_up_sharding(SimpleNamespace(distributed_type=kind), adapting())


def test_without_peft(adapting, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingPackageError, match=r"peft isn't installed .*pip install 'modeling-ocrnet\[peft\]'"):
        build_accelerator(adapting())


def test_layers_that_an_adapter_would_not_compute_are_left_out():
    """Grouped, dilated or reflecting convolutions, those of other classes, those whose weight alone is read. Merged,
    the rest is the same."""
    model = OCRNetForSemanticSegmentation(
        OCRNetConfig(
            backbone_config=ResNetConfig(
                embedding_size=8,
                hidden_sizes=[8, 8, 8, 8],
                depths=[1, 1, 1, 1],
                layer_type="basic",
                out_features=["stage1", "stage2", "stage3", "stage4"],
            ),
            num_labels=3,
            ocr_channels=8,
            key_channels=8,
        )
    ).eval()

    class Own(nn.Conv2d):
        def forward(self, x):
            return 2 * super().forward(x)

    class ByWeight(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution = nn.Conv2d(8, 8, 3, bias=False)

        def forward(self, x):
            return nn.functional.conv2d(x, self.convolution.weight, padding=1)

    stages = [x.layers[0].layer for x in model.backbone.encoder.stages]
    stages[0][0].convolution = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
    stages[1][1].convolution = nn.Conv2d(8, 8, 3, padding=2, dilation=2, bias=False)
    stages[2][1].convolution = nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect", bias=False)
    stages[3][1].convolution = Own(8, 8, 3, padding=1, bias=False)
    stages[0][1] = ByWeight()
    others = {id(x) for x in (*stages[0], stages[1][1], stages[2][1], stages[3][1]) for x in x.modules()}
    left_out = {name for name, x in model.backbone.named_modules() if isinstance(x, nn.Conv2d) and id(x) in others}
    convolutions = {name for name, x in model.backbone.named_modules() if isinstance(x, nn.Conv2d)}
    assert len(left_out) == 5 < len(convolutions)
    adapter = add_adapters(model, R.Recipe(lora=R.LoraRecipe(rank=8)))
    adapted = {name for name, x in model.backbone.named_modules() if hasattr(x, "lora_A")}
    assert adapted == convolutions - left_out
    for name, parameter in model.named_parameters():
        if ".lora_B." in name:
            nn.init.normal_(parameter, std=0.1)
    images = torch.randn(1, 3, 64, 64)
    expected = logits(model, images)
    torch.testing.assert_close(logits(adapter.merge_and_unload(), images), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_resumed_run_is_the_uninterrupted_one(adapting, base):
    """Whose starting model is gone."""
    options = {
        "model": {"init_from": str(base), "ema_decay": 0.9, "config": {"dropout": 0.5}},
        "lora": {"dropout": 0.1},
    }
    whole = loop.train(adapting("whole", **options)).parent
    recipe = adapting("parts", **options)
    with stop_after(2), pytest.raises(SystemExit):
        loop.train(recipe)
    base.rename(base.with_name("gone"))
    parts = loop.train(recipe, resume="last").parent
    for name in ("model/model", "model_ema/model", "adapter/adapter_model", "adapter_ema/adapter_model"):
        ours, theirs = (load_file(x / f"{name}.safetensors") for x in (whole, parts))
        assert ours.keys() == theirs.keys() != set()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours), name
    lines = [json.loads(x) for x in (whole / "metrics.jsonl").read_text().splitlines()]
    again = [json.loads(x) for x in (parts / "metrics.jsonl").read_text().splitlines()]
    assert [x["loss"] for x in again if "loss" in x] == [x["loss"] for x in lines if "loss" in x]


@pytest.mark.slow
def test_rates_by_name_and_half_precision(adapting):
    """Beginnings of names are those without adapters; what bf16 computed is merged in float32."""
    optimizer = R.OptimizerRecipe(lr_multipliers={"backbone.stage4": 0.5, "ocr_head.classifier": 2.0})
    recipe = adapting(optimizer=optimizer, mixed_precision="bf16", schedule=R.ScheduleRecipe(max_steps=1, min_lr=1e-3))
    experiment = loop.build(recipe, build_accelerator(recipe))
    names = {id(x): name for name, x in experiment.bare_model.named_parameters()}
    scales = {names[id(x)]: g["lr_scale"] for g in experiment.optimizer.param_groups for x in g["params"]}
    for name, scale in scales.items():
        classifier = name.startswith("ocr_head.") and ".classifier." in name
        assert scale == (2.0 if classifier else 0.5 if name.startswith("backbone.stage4.") else 1.0), name
    assert set(scales.values()) == {0.5, 1.0, 2.0}
    AcceleratorState._reset_state(reset_partial_state=True)
    folder = loop.train(recipe)
    assert {x.dtype for x in load_file(folder / "model.safetensors").values()} == {torch.float32, torch.int64}


@pytest.mark.distributed
@pytest.mark.slow
def test_two_processes_train_as_one(adapting, base, tmp_path):
    """All norms are in eval mode, so nothing depends on which process has which images."""

    def make_recipe(name: str) -> R.Recipe:
        recipe = adapting(name, model={"init_from": str(base), "config": {"dropout": 0.0}})
        recipe.optimizer.lr, recipe.schedule.min_lr = 1e-3, 1e-4
        return recipe

    losses = {world: x["losses"] for world, x in multiprocess.losses_of_one_and_two(make_recipe, tmp_path).items()}
    assert losses[2] == pytest.approx(losses[1], abs=1e-4)
    assert losses[2][1:] != losses[1][:-1]


def test_decay_by_layers_of_adapters():
    """A factor has its layer's rate."""
    backbone = ConvNextConfig(hidden_sizes=[8, 8, 8, 8], depths=[1, 2, 1, 1], out_features=["stage2", "stage4"])
    indices = {"ocr_in_indices": [0, 1], "auxiliary_in_indices": [0, 1]}
    config = OCRNetConfig(backbone_config=backbone, ocr_channels=8, key_channels=8, **indices)
    model = OCRNetForSemanticSegmentation(config)
    expected = layer_factors(model, 0.5)
    add_adapters(model, R.Recipe(lora=R.LoraRecipe(rank=2)))
    found = layer_factors(model, 0.5)
    factors = {name for name in found if ".lora_" in name}
    assert len(factors) == 2 * 2 * 5 + 2 * 4  # of two linear layers a block, the stem and three downsamplings
    for name in found:
        plain = re.sub(r"\.(lora_[AB]\.default|base_layer)\.", ".", name)
        assert found[name] == expected[plain], name
