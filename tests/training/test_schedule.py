"""The learning rate agrees with mmengine's PolyLR (fixtures/mmseg_poly_schedule), torch's CosineAnnealingLR and its
LinearLR."""

from types import SimpleNamespace

import pytest
import torch
from helpers import reference

from modeling_ocrnet.common.errors import UserError
from modeling_ocrnet.training.extension import extended_by_steps
from modeling_ocrnet.training.optimization import learning_rate
from modeling_ocrnet.training.recipe import Recipe, ScheduleRecipe
from modeling_ocrnet.training.time_budget import TimeBudget


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


def torchs(schedulers: list, optimizer: torch.optim.Optimizer, steps: int) -> list[float]:
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return rates


@pytest.mark.parametrize("steps", [2, 3, 50, 1000])
@pytest.mark.parametrize("floor", [0.0, 1e-4, 0.01])
def test_cosine_agrees_with_torch(steps, floor):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.01)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps - 1, eta_min=floor)
    schedule = ScheduleRecipe(name="cosine", max_steps=steps, min_lr=floor)
    ours = [learning_rate(step, 0.01, schedule) for step in range(steps)]
    assert ours == pytest.approx(torchs([cosine], optimizer, steps), rel=1e-6, abs=1e-9)
    assert ours[0] == pytest.approx(0.01)
    assert ours[-1] == pytest.approx(floor)


def test_the_warmup_of_a_cosine_agrees_with_torch():
    """With a floor of 0, where torch's chained schedulers are their product too."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.01)
    parts = [
        torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=99, eta_min=0),
        torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.2, total_iters=20),
    ]
    schedule = ScheduleRecipe(name="cosine", max_steps=100, min_lr=0.0, warmup_steps=20, warmup_ratio=0.2)
    ours = [learning_rate(step, 0.01, schedule) for step in range(100)]
    assert ours == pytest.approx(torchs(parts, optimizer, 100), rel=1e-6, abs=1e-9)


def test_a_cosine_follows_the_clock():
    """Steps of one second each in a run of a minute and two seconds have the rates of a schedule of as many steps."""
    now = 0.0
    budget = TimeBudget(SimpleNamespace(num_processes=1, is_main_process=True), 62 / 60, clock=lambda: now)
    schedule = ScheduleRecipe(name="cosine", max_steps=500, min_lr=1e-5)
    rates = []
    for _ in budget.steps(0):
        rates.append(learning_rate(budget.position(schedule), 0.01, schedule))
        now += 1
        if budget.step_done():
            budget.expect({"nothing": 1}, {})
    fixed = ScheduleRecipe(name="cosine", max_steps=len(rates), min_lr=1e-5)
    assert 60 <= len(rates) <= 62
    assert rates[-1] == pytest.approx(1e-5)
    for step, rate in enumerate(rates):
        assert rate == pytest.approx(learning_rate(step, 0.01, fixed), abs=0.0005), step


def test_an_extended_cosine_goes_on_at_the_longer_ones_rate():
    """Half of 10 steps is a quarter of 20: cos(pi / 4) then, not cos(pi / 2)."""
    recipe = Recipe(schedule=ScheduleRecipe(name="cosine", max_steps=21, min_lr=0.0))
    line = extended_by_steps(recipe, SimpleNamespace(step=5), 11)
    new = 0.01 * (1 + 2**-0.5) / 2
    assert f"goes on at {new:.3e}, and falls to 0.000e+00" in line


def test_a_power_is_for_poly_alone():
    with pytest.raises(UserError, match=r"schedule.power is 2, but schedule.name is cosine, .*leave it out"):
        Recipe(schedule=ScheduleRecipe(name="cosine", power=2.0))
    Recipe(schedule=ScheduleRecipe(name="cosine", power=0.9))  # its default, which a written recipe states
