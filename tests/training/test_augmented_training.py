"""Runs with augmentations: a resumed one goes on with the samples that it would have had."""

from dataclasses import replace

import pytest
import torch
from helpers.signals import stop_after
from safetensors.torch import load_file

from modeling_ocrnet.data.augmentations import AUGMENTATIONS
from modeling_ocrnet.training import loop
from modeling_ocrnet.training import recipe as R
from modeling_ocrnet.training.checkpoint import CheckpointError


@pytest.mark.slow
def test_a_resumed_run_is_the_uninterrupted_one(quick_recipe, tmp_path):
    entries = [
        {"name": name, "probability": 0.6, **({"classes": ["person", "traffic sign"]} if name == "paste" else {})}
        for name in AUGMENTATIONS
    ]

    def recipe(entries, output):
        made = quick_recipe(schedule=R.ScheduleRecipe(max_steps=4), output=str(tmp_path / output))
        return replace(made, data=replace(made.data, augmentations=entries))

    plain, whole = (loop.train(recipe(x, str(len(x)))) for x in ([], entries))
    with stop_after(3), pytest.raises(SystemExit):
        loop.train(recipe(entries, "parts"))
    with pytest.raises(CheckpointError, match="data.augmentations: .* in the checkpoint, now "):
        loop.train(recipe(entries[1:], "parts"), resume="last")
    parts = loop.train(recipe(entries, "parts"), resume="last")
    found = [load_file(x / "model.safetensors") for x in (whole, parts, plain)]
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])
    assert not all(torch.equal(found[0][key], found[2][key]) for key in found[0])
