"""What a training run leaves, as small as can be; and a Hub on loopback that this process may talk to."""

import json

import pytest
import yaml
from helpers.hub_on_loopback import hub_of_this_process
from helpers.tiny import tiny_config
from PIL import Image

from modeling_ocrnet import OCRNetForSemanticSegmentation, OCRNetImageProcessor
from modeling_ocrnet.training import recipe as R
from modeling_ocrnet.training.recipe import as_dict

CLASSES = {0: "road", 1: "sky", 2: "train"}
METRICS = {
    "step": 420,
    "dataset": "street_scenes",
    "split": "val",
    "mean_iou": 0.61234567,
    "mean_accuracy": 0.7,
    "overall_accuracy": 0.9,
    "iou": {"road": 0.8, "sky": 0.42469134, "train": None},
}


@pytest.fixture
def run_folder(tmp_path):
    """A function that writes a finished run and returns its model's folder; arguments change what the run says."""

    def write(dataset="street_scenes", metrics=METRICS, **recipe_fields):
        model = tmp_path / "run" / "model"
        OCRNetForSemanticSegmentation(tiny_config(id2label=CLASSES)).save_pretrained(model)
        OCRNetImageProcessor().save_pretrained(model)
        recipe = R.Recipe(
            data=R.DataRecipe(dataset, root="/data/private/scenes"),
            schedule=R.ScheduleRecipe(max_steps=420),
            output="/data/private/runs",
            **recipe_fields,
        )
        (model / "recipe.yaml").write_text(yaml.safe_dump(as_dict(recipe)), encoding="utf-8")
        if metrics is not None:
            (model / "metrics.json").write_text(json.dumps({**metrics, "dataset": dataset}), encoding="utf-8")
        (model.parent / "metrics.jsonl").touch()
        (model.parent / "pictures").mkdir(exist_ok=True)
        for name in ("frame_1", "frame_2", "frame_3", "frame_4", "frame_5"):
            Image.effect_noise((1200, 100), 60).save(model.parent / "pictures" / f"{name}.png")
        return model

    return write


@pytest.fixture
def hub(monkeypatch):
    with hub_of_this_process(monkeypatch) as hub:
        yield hub
