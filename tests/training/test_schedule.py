"""The learning rate agrees with mmengine's PolyLR (fixtures/mmseg_poly_schedule) and torch's LinearLR."""

import pytest
import torch
from helpers import reference

from modeling_ocrnet.training.optimization import learning_rate
from modeling_ocrnet.training.recipe import ScheduleRecipe


def test_agrees_with_mmengine():
    expected = reference.load("mmseg_poly_schedule")["lr_at_iteration"].tolist()
    schedule = ScheduleRecipe(max_steps=40_000)
    assert [learning_rate(100 * i, 0.01, schedule) for i in range(400)] == pytest.approx(expected, abs=1e-9)


def test_ends_at_the_floor():
    schedule = ScheduleRecipe(max_steps=10)
    assert learning_rate(0, 0.01, schedule) == pytest.approx(0.01)
    assert learning_rate(9, 0.01, schedule) == pytest.approx(1e-4)
    assert learning_rate(0, 0.01, ScheduleRecipe(max_steps=1)) == pytest.approx(0.01)


def test_the_warmup_agrees_with_torch():
    """With a constant rate behind it (power 0), the warm-up is torch's LinearLR."""
    schedule = ScheduleRecipe(max_steps=100, power=0, min_lr=0.01, warmup_steps=20, warmup_ratio=0.1)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.01)
    linear = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.1, total_iters=20)
    for step in range(30):
        assert learning_rate(step, 0.01, schedule) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        optimizer.step()
        linear.step()
