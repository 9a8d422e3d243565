"""The micro-batch that fits, on a machine whose steps take what a formula says."""

import pytest

from modeling_ocrnet.common.errors import UserError
from modeling_ocrnet.training import fitting_step
from modeling_ocrnet.training import recipe_rules as rules
from modeling_ocrnet.training.choice import Choice
from modeling_ocrnet.training.data_facts import DataFacts
from modeling_ocrnet.training.dry_run import RunCost
from modeling_ocrnet.training.fitting_step import candidates, fit, fit_memory
from modeling_ocrnet.training.machine_facts import MachineFacts

DATA = DataFacts(("a", "b"), 100, 10, 10, 1, 480, 360, 360, 480, (0.6, 0.4), (99.0, 99.0), (1.0, 1.0))
CHOICES = {
    "data.name": Choice("camvid", ""),
    "data.scale": Choice([1024, 256], ""),
    "data.crop_size": Choice([256, 320], ""),
    "sampler.name": Choice("shuffle", ""),
    "model.variant": Choice("hr18s", ""),
    "global_batch": Choice(8, ""),
    "mixed_precision": Choice("no", ""),
}


@pytest.fixture
def machine(monkeypatch):
    """`machine(gigabytes, per_image)`: what each measured step was asked for, on a device with that memory."""

    def of(memory, per_image, seconds=1.0, base=0.7, killed_above=None, given=False):
        asked = []

        def measure(recipe):
            asked.append((recipe.micro_batch, recipe.model.gradient_checkpointing, recipe.data.crop_size))
            images = recipe.micro_batch * (0.5 if recipe.model.gradient_checkpointing else 1)
            peak = base + per_image * images
            if killed_above is not None and peak > killed_above:
                return None
            area = recipe.data.crop_size[0] * recipe.data.crop_size[1] / (256 * 320)
            return RunCost(seconds * area, 0.1, 10, 0, peak)

        monkeypatch.setattr(fitting_step, "measure_step", measure)
        return MachineFacts("cpu", 2, memory, given), asked

    return of


def test_the_order_of_trials():
    assert candidates(8) == [(8, False), (4, False), (8, True), (4, True), (2, True), (1, True)]
    assert candidates(6) == [(6, False), (6, True), (3, True), (2, True), (1, True)]
    assert candidates(2) == [(2, False), (2, True), (1, True)]
    assert candidates(1) == [(1, False), (1, True)]


@pytest.mark.parametrize("per_image", [0.05, 0.3, 0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("memory", [4.0, 8.0, 16.0])
def test_what_is_chosen_was_measured_and_fits(machine, memory, per_image):
    facts, asked = machine(memory, per_image)
    limit = 0.8 * memory
    if 0.7 + per_image / 2 > limit:
        with pytest.raises(UserError, match=r"a step with one image takes .* GB, and .* GB are for it: end other"):
            fit_memory(CHOICES, facts, "hr18s")
        return
    found = fit_memory(CHOICES, facts, "hr18s")
    micro = found.choices["micro_batch"].value
    twice = "model.gradient_checkpointing" in found.choices
    assert asked[-1][:2] == (micro, twice)
    assert found.cost.peak_memory == 0.7 + per_image * micro * (0.5 if twice else 1) <= limit
    assert len(asked) <= 4
    if micro < 4:
        assert twice
        assert found.choices["model.config.batch_norm_momentum"].value == 0.1 * micro / 4
    assert f"{found.cost.peak_memory:.1f} GB at its peak, of {memory:.1f} GB free" in found.choices["micro_batch"].why


def test_ample_memory_takes_the_whole_batch_at_once(machine):
    facts, asked = machine(64.0, 0.5)
    assert fit_memory(CHOICES, facts, "hr18s").choices["micro_batch"].value == 8
    assert [x[0] for x in asked] == [8]


def test_a_step_that_ends_its_process_is_tried_smaller(machine):
    facts, asked = machine(16.0, 1.5, killed_above=8.0)
    found = fit_memory(CHOICES, facts, "hr18s")
    assert found.cost.peak_memory <= 8.0
    assert asked[0][0] == 8
    assert found.choices["micro_batch"].value == 4


def test_given_memory_is_named_in_the_remedy(machine):
    facts, _ = machine(1.0, 3.0, given=True)
    with pytest.raises(UserError, match=r"of 1.0 GB are for it: give a larger --memory$"):
        fit_memory(CHOICES, facts, "hr18s")


def resized(edge):
    return {"data.scale": Choice([4 * edge.value, edge.value], edge.why), "data.crop_size": Choice([128, 160], "")}


def test_few_minutes_shrink_the_images(machine):
    facts, asked = machine(16.0, 0.1, seconds=2.0)
    found = fit(CHOICES, resized, DATA, facts, "hr18s", minutes=4)  # 0.9 * 220 / 2 steps, a quarter of what is wanted
    assert found.choices["data.scale"].value == [512, 128]
    assert "4 minutes have 99 steps at 256, and 400 are wanted" in found.choices["data.scale"].why
    assert found.cost.step == 0.5
    assert [x[2] for x in asked] == [(256, 320), (128, 160)]


@pytest.mark.parametrize("minutes", [None, 20])
def test_enough_time_leaves_the_images(machine, minutes):
    facts, asked = machine(16.0, 0.1, seconds=2.0)
    assert fit(CHOICES, resized, DATA, facts, "hr18s", minutes).choices["data.scale"].value == [1024, 256]
    assert len(asked) == 1


def test_the_limit_leaves_a_fifth():
    assert rules.memory_limit(MachineFacts("cpu", 2, 10.0)) == 8.0
