"""What can't be built is refused before work starts."""

import pytest

from modeling_ocrnet import data
from modeling_ocrnet.common.errors import UserError
from modeling_ocrnet.training import loop
from modeling_ocrnet.training import recipe as R
from modeling_ocrnet.training.build import build_accelerator, build_model


def test_impossible_runs_are_refused(tiny_recipe, monkeypatch):
    with pytest.raises(ValueError, match="asks for wandb, which isn't installed: pip install wandb"):
        build_accelerator(tiny_recipe(logging=R.LoggingRecipe(trackers=["wandb"])))
    with pytest.raises(data.DataError, match="no such folder"):
        loop.train(tiny_recipe(data=R.DataRecipe("cityscapes", "nowhere")))
    paste = R.DataRecipe("cityscapes", "nowhere", augmentations=[{"name": "paste", "classes": ["pole", "bicylce"]}])
    with pytest.raises(UserError, match="names the class 'bicylce', which the data don't have; did you mean bicycle?"):
        loop.train(tiny_recipe(data=paste))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="the launcher started 2 processes, but Accelerate sees 1"):
        build_accelerator(tiny_recipe())


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"variant": "hr19"}, "variant 'hr19' is unknown"),
        ({"config": {"dropuot": 0.1}}, "model.config has dropuot, which OCRNetConfig doesn't have"),
        ({"backbone_config": {"dropout": 0.1}}, "model.backbone_config has dropout, which HRNetConfig doesn't have"),
        ({"config": {"dropout": "much"}}, "model.config or model.backbone_config: .*dropout"),
        ({"config": {"class_weights": [1.0]}}, "class_weights has 1 entries for 19 classes"),
    ],
)
def test_impossible_networks_are_refused(tiny_recipe, model, message):
    with pytest.raises(ValueError, match=message):
        build_model(tiny_recipe(model=R.ModelRecipe(backbone=None, **model)), data.label_set("street_scenes"))


def test_fp16_on_a_cpu_is_refused(tiny_recipe):
    with pytest.raises(ValueError, match="fp16 on a CPU would silently be fp32"):
        build_accelerator(tiny_recipe(mixed_precision="fp16"))
