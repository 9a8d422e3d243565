"""Class, category and instance scores agree with Cityscapes' own evaluator, cityscapesscripts, on street scenes."""

import importlib
import json
import sys

import numpy as np
import pytest
from accelerate import Accelerator
from PIL import Image

from modeling_ocrnet import data
from modeling_ocrnet.evaluation import loop
from modeling_ocrnet.evaluation.results import as_record, as_table
from street_scenes import write_street_scenes

LABELS = data.label_set("street_scenes")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("scenes") / "root"
    write_street_scenes(root, train=1, val=4, size=(128, 256), seed=3)
    return root


def wrong_on_purpose(label: np.ndarray, seed: int) -> np.ndarray:
    """Train ids: the truth shifted by some pixels, with patches of other classes, also where it is ignored."""
    rng = np.random.default_rng(seed)
    guess = np.roll(label, (3, 5), (0, 1))
    guess[guess == 255] = rng.integers(19)
    for _ in range(12):
        y, x = rng.integers(110), rng.integers(230)
        guess[y : y + 18, x : x + 26] = rng.integers(19)
    return guess


@pytest.fixture(scope="module")
def official(root, tmp_path_factory):
    """cityscapesscripts' scores for the predictions, which lie as label ids in a folder."""
    folder = tmp_path_factory.mktemp("predictions")
    rows = data.load("cityscapes", root, "val")
    predictions, truths = [], []
    for seed, row in enumerate(rows):
        predictions.append(folder / f"{row['name']}.png")
        Image.fromarray(np.array(LABELS.ids, np.uint8)[wrong_on_purpose(np.asarray(row["label"]), seed)]).save(
            predictions[-1]
        )
        truths.append(root / "gtFine" / "val" / "dornfeld" / f"{row['name']}_gtFine_labelIds.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CITYSCAPES_DATASET", str(root))  # read at import
        if not hasattr(np, "in1d"):  # gone in NumPy 2.4
            patch.setattr(np, "in1d", np.isin, raising=False)
        name = "cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling"
        patch.delitem(sys.modules, name, raising=False)
        module = importlib.import_module(name)
        module.args.JSONOutput = module.args.quiet = False
        return module.evaluateImgLists(list(map(str, predictions)), list(map(str, truths)), module.args)


@pytest.fixture(scope="module")
def ours(root):
    """Through the evaluation loop, the network replaced by the same wrong predictions."""
    rows = data.load("cityscapes", root, "val", instances=True)
    guesses = iter([wrong_on_purpose(np.asarray(row["label"]), seed) for seed, row in enumerate(rows)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "segment", lambda model, processor, images, options: [next(guesses) for _ in images])

        class Model:
            training = False

            def eval(self):
                pass

            def train(self, mode):
                pass

        return loop.evaluate_model(Model(), None, rows, Accelerator(cpu=True), LABELS, boundaries=True)


def assert_same(actual, expected):
    """NaN: what doesn't occur."""
    assert actual == pytest.approx(expected, rel=1e-9, nan_ok=True)


def test_class_iou(ours, official):
    """Against cityscapesscripts."""
    expected = official["classScores"]
    assert_same(ours["per_category_iou"].tolist(), [expected[name] for name in LABELS.names])
    assert_same(ours["mean_iou"], official["averageScoreClasses"])


def test_category_iou(ours, official):
    """Against cityscapesscripts."""
    expected = {name: value for name, value in official["categoryScores"].items() if name != "void"}
    assert set(ours["category_iou"]) == set(expected)
    for name, value in expected.items():
        assert_same(ours["category_iou"][name], value)


def test_iiou(ours, official):
    """Of classes and categories, against cityscapesscripts."""
    expected = {k: v for k, v in official["classInstScores"].items() if k in ours["iiou"]}
    assert len(expected) == 8
    assert sum(not np.isnan(x) for x in expected.values()) >= 4
    for name, value in expected.items():
        assert_same(ours["iiou"][name], value)
    for name in ("human", "vehicle"):
        assert_same(ours["category_iiou"][name], official["categoryInstScores"][name])


def test_the_record_is_json_and_the_table_shows_it(ours):
    record = as_record(ours, LABELS.names)
    again = json.loads(json.dumps(record))
    assert again["classes"]["road"]["iou"] == pytest.approx(ours["per_category_iou"][0])
    assert again["categories"]["human"]["iiou"] == pytest.approx(ours["category_iiou"]["human"])
    table = as_table(again)
    assert f"mIoU {100 * ours['mean_iou']:.2f}" in table
    assert len({len(line) for line in table.split("\n\n")[0].splitlines()}) == 1  # aligned
    # frequency weighted: sum over classes of frequency * IoU
    share = ours["per_category_iou"] * 0
    assert again["frequency_weighted_iou"] > again["mean_iou"] > np.nanmin(share)
