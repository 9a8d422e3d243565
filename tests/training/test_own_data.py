"""Own images from the recipe to predictions: training, evaluation and prediction know their classes and ids."""

import json

import numpy as np
import pytest
from helpers.tiny import TINY_BACKBONE
from PIL import Image

from modeling_ocrnet import OCRNetForSemanticSegmentation
from modeling_ocrnet.evaluation.evaluate_checkpoint import EvaluationArguments, evaluate_checkpoint
from modeling_ocrnet.inference.files import collect_inputs, predict_files
from modeling_ocrnet.inference.loading import load_model
from modeling_ocrnet.inference.segmentation import InferenceOptions
from modeling_ocrnet.training import loop
from modeling_ocrnet.training import recipe as R

CLASSES = [{"name": "left", "id": 3, "color": [200, 0, 0]}, {"name": "right", "id": 700, "color": [0, 0, 200]}]


@pytest.fixture
def root(tmp_path):
    """Ten pictures that are red at the left and blue at the right, as their colour masks are."""
    root = tmp_path / "own"
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for i in range(10):
        mask = np.zeros((32, 64, 3), np.uint8)
        mask[:, : 20 + 2 * i], mask[:, 20 + 2 * i :] = CLASSES[0]["color"], CLASSES[1]["color"]
        Image.fromarray(mask).save(root / "masks" / f"{i}.png")
        Image.fromarray(mask // 2).save(root / "images" / f"{i}.jpg")
    (root / "classes.json").write_text(json.dumps({"classes": CLASSES}))
    return root


@pytest.mark.slow
def test_from_images_to_predictions(root, tmp_path, tiny_recipe, monkeypatch):
    monkeypatch.setattr(loop, "use_all_cores", lambda _: None)  # threads only wait for each other in nets this small
    own = {"name": "folder", "root": str(root), "val_share": 0.4}
    recipe = tiny_recipe(
        data=R.DataRecipe(**own, crop_size=(32, 32), scale=(64, 32), workers=0),
        model=R.ModelRecipe(
            backbone=None,
            backbone_config=TINY_BACKBONE,
            config={"ocr_channels": 16, "key_channels": 8},
        ),
        schedule=R.ScheduleRecipe(max_steps=2),
        logging=R.LoggingRecipe(every=1, pictures=0),
        global_batch=2,
    )
    folder = loop.train(recipe)
    config = OCRNetForSemanticSegmentation.from_pretrained(folder).config
    assert config.id2label == {0: "left", 1: "right"}
    assert (config.label_ids, config.palette) == ([3, 700], [[200, 0, 0], [0, 0, 200]])

    task = EvaluationArguments(
        **own, save_predictions=str(tmp_path / "ids"), output=str(tmp_path / "scores.json"), workers=0
    )
    record = evaluate_checkpoint(str(folder), task, InferenceOptions())
    assert set(record["classes"]) == {"left", "right"}
    assert record == json.loads((tmp_path / "scores.json").read_text())
    written = sorted((tmp_path / "ids").glob("*.png"))
    assert len(written) == record["images"] > 0

    model, processor = load_model(str(folder), "fp32")
    jobs = collect_inputs([str(root / "images" / f"{x.stem}.jpg") for x in written], str(tmp_path / "out"))
    assert predict_files(model, processor, jobs, InferenceOptions()) == []
    for job, evaluated in zip(jobs, written, strict=True):
        ids, colors = (np.asarray(Image.open(job.result(x))) for x in ("ids", "mask"))
        assert np.array_equal(ids, np.asarray(Image.open(evaluated)))  # 700 takes 16 bits
        assert np.array_equal(colors, np.where((ids == 3)[..., None], CLASSES[0]["color"], CLASSES[1]["color"]))
        assert set(np.unique(ids)) <= {3, 700}
