"""One step: accumulation, precision, optimizers, learning rates, clipping."""

import pytest
import torch
from accelerate.state import AcceleratorState
from helpers.tiny import freeze_statistics

from modeling_ocrnet import data
from modeling_ocrnet.training import loop
from modeling_ocrnet.training import recipe as R
from modeling_ocrnet.training.build import build_accelerator, build_model, build_optimizer


class InFloat64(torch.nn.Module):
    """A model of float64 weights, fed with float32 images."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, pixel_values, labels):
        return self.model(pixel_values.double(), labels=labels)


def test_gradient_accumulation_agrees_with_the_larger_batch(tiny_recipe, tmp_path):
    """Where batch norm is frozen, and no label is ignored unevenly: losses over all pixels are means of means.

    In float64: an untrained network under frozen statistics amplifies float32's rounding from step to step.
    """
    losses = {}
    for micro in (1, 4):
        recipe = tiny_recipe(
            micro_batch=micro,
            output=str(tmp_path / f"micro{micro}"),
            optimizer=R.OptimizerRecipe(lr=1e-4),
            schedule=R.ScheduleRecipe(max_steps=4, min_lr=1e-5),
        )
        accelerator = build_accelerator(recipe)
        experiment = loop.build(recipe, accelerator)
        freeze_statistics(experiment.bare_model)
        experiment.model = InFloat64(experiment.bare_model.double())
        batches = loop.build_batches(experiment, 0)
        losses[micro] = [loop.train_step(experiment, batches, step)["loss"].item() for step in range(4)]
    assert losses[1] == pytest.approx(losses[4], rel=1e-9)


def test_bfloat16(tiny_recipe):
    """Autocast: weights stay in float32, and the losses stay close to float32's."""
    losses = {}
    for precision in ("no", "bf16"):
        recipe = tiny_recipe(mixed_precision=precision)
        experiment = loop.build(recipe, build_accelerator(recipe))
        batches = loop.build_batches(experiment, 0)
        losses[precision] = [loop.train_step(experiment, batches, step)["loss"].item() for step in range(3)]
        assert {p.dtype for p in experiment.bare_model.parameters()} == {torch.float32}
        AcceleratorState._reset_state(reset_partial_state=True)
    assert losses["bf16"] != losses["no"]
    assert losses["bf16"] == pytest.approx(losses["no"], rel=0.1)


@pytest.mark.parametrize(("name", "kind"), [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
def test_optimizers(tiny_recipe, name, kind):
    """Each name gives torch's class, with the recipe's weight decay."""
    recipe = tiny_recipe(optimizer=R.OptimizerRecipe(name=name, lr=1e-3, weight_decay=0.02))
    optimizer = build_optimizer(build_model(recipe, data.label_set("street_scenes")), recipe)
    assert type(optimizer) is kind
    assert {g["weight_decay"] for g in optimizer.param_groups} == {0.02}


def test_the_learning_rate_of_the_heads(tiny_recipe):
    recipe = tiny_recipe(optimizer=R.OptimizerRecipe(head_lr_multiplier=10.0))
    model = build_model(recipe, data.label_set("street_scenes"))
    groups = build_optimizer(model, recipe).param_groups
    assert [g["base_lr"] for g in groups] == [0.01, 0.1]
    assert {id(p) for g in groups for p in g["params"]} == {id(p) for p in model.parameters()}
    assert len(groups[1]["params"]) == len([n for n, _ in model.named_parameters() if "head" in n])


def test_gradients_are_clipped(tiny_recipe):
    recipe = tiny_recipe(optimizer=R.OptimizerRecipe(clip_norm=1e-3, momentum=0.0, weight_decay=0.0))
    experiment = loop.build(recipe, build_accelerator(recipe))
    before = [p.detach().clone() for p in experiment.bare_model.parameters()]
    loop.train_step(experiment, loop.build_batches(experiment, 0), 0)
    moved = torch.stack(
        [(p - q).norm() for p, q in zip(experiment.bare_model.parameters(), before, strict=True)]
    ).norm()
    assert moved.item() == pytest.approx(0.01 * 1e-3, rel=1e-2)  # learning rate x norm
