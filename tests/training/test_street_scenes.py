"""What `make train` trains learns more than colours and positions tell."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from modeling_ocrnet import data
from modeling_ocrnet.cli.recipe_parser import parse_recipe, recipe_parser
from modeling_ocrnet.evaluation.mean_iou import MeanIoU
from modeling_ocrnet.training.loop import train

RECIPE = Path(__file__).parents[2] / "configuration" / "street_scenes" / "ocrnet_hr18s.yaml"


def pixels(row, count=None):
    """(N, 5) red, green, blue, row, column, and (N,) classes, of pixels that have one; `count` of them at random."""
    image, label = np.asarray(row["image"]), np.asarray(row["label"])
    rows, columns = np.nonzero(label != data.IGNORE)
    if count is not None:
        some = np.random.default_rng(0).choice(len(rows), count, replace=False)
        rows, columns = rows[some], columns[some]
    return np.column_stack([image[rows, columns], rows, columns]), label[rows, columns]


def per_pixel_classifier(root) -> dict:
    """The scores of a random forest on colour and position."""
    features, classes = zip(*(pixels(row, 300) for row in data.load("street_scenes", root, "train")), strict=True)
    forest = RandomForestClassifier(30, min_samples_leaf=5, random_state=0, n_jobs=2)
    forest.fit(np.concatenate(features), np.concatenate(classes))
    metric = MeanIoU()
    for row in data.load("street_scenes", root, "val"):
        features, classes = pixels(row)
        metric.add(prediction=forest.predict(features), reference=classes)
    return metric.compute(num_labels=19)


@pytest.mark.slow
def test_the_network_sees_twice_what_a_per_pixel_classifier_does(tmp_path):
    root = tmp_path / "scenes"
    places = ["--data.root", str(root), "--output", str(tmp_path / "run"), "--mixed_precision", "no"]
    # smaller pictures and fewer steps than `make train` has: enough for the comparison
    sizes = ["--data.crop_size", "[80, 160]", "--data.scale", "[160, 80]"]
    steps = ["--schedule.max_steps", "540", "--evaluation.every", "540", "--checkpoint.every", "540"]
    recipe, _ = parse_recipe(recipe_parser(), ["--config", str(RECIPE), *places, *sizes, *steps])
    model = train(recipe)
    network = json.loads((model / "metrics.json").read_text())
    forest = per_pixel_classifier(root)
    assert forest["overall_accuracy"] > 0.5  # it does learn what there is to learn
    assert sum(iou is not None for iou in network["iou"].values()) >= 12  # classes that occur
    assert network["mean_iou"] > 2 * forest["mean_iou"]
