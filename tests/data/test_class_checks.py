"""Class lists that the masks contradict, and splits without a labelled pixel: said and refused before work starts."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.tiny import TINY_BACKBONE
from PIL import Image

from modeling_ocrnet import data
from modeling_ocrnet.data import DataSource
from modeling_ocrnet.preparation.inspection import inspect

REPO = Path(__file__).parents[2]
SIZE = (32, 48)


def write(root, name, values, split=None):
    for folder in ("images", "masks"):
        (root / folder / (split or "")).mkdir(parents=True, exist_ok=True)
    color = tuple(hashlib.sha256(name.encode()).digest()[:3])  # no two images are the same, in every run
    Image.new("RGB", SIZE[::-1], color).save(root / "images" / (split or "") / f"{name}.png")
    mask = np.resize(np.array(values, np.uint8), SIZE)
    Image.fromarray(mask).save(root / "masks" / (split or "") / f"{name}.png")


@pytest.fixture
def own(tmp_path):
    """A folder of own data: `own(classes, [values of a mask, ...])`."""

    def make(classes, *masks, **splits):
        root = tmp_path / "own"
        for i, values in enumerate(masks):
            write(root, f"{i:03d}", values)
        for split, found in splits.items():
            for i, values in enumerate(found):
                write(root, f"{split}{i:03d}", values, split)
        (root / "classes.json").write_text(json.dumps(classes))
        return root

    return make


def judge(root, split="all", **fields):
    """What training does with the data before it starts."""
    source = DataSource("folder", str(root), **fields)
    rows, labels = data.load(source, split=split), data.label_set(source)
    findings = data.check(rows)
    data.log_findings(findings, labels, split)
    data.require_labelled(rows, findings, split)
    data.check_classes(labels, [(rows, findings)])


BLACK_AND_WHITE = {"classes": [{"name": "background", "color": [0, 0, 0]}, {"name": "crack", "color": [255] * 3}]}
MEANT_OTHERWISE = {
    "black and white": (["background", "crack"], [0, 0, 255], r"no mask holds crack, .* holds 255, which is ignored"),
    "black and white as colours": (BLACK_AND_WHITE, [0, 0, 255], r'\{"name": "crack", "id": 255\}'),
    "255 among others": (["a", "b", "c"], [0, 1, 255], r"no mask holds c, but .*set ignore_ids \[255\]"),
    "zero reduced, but a class": (
        {"classes": ["a", "b", "c"], "reduce_zero_label": True},
        [0, 1, 2],
        r"3 names need as many ids, but the masks hold 1, 2, and no pixel of c: leave reduce_zero_label out",
    ),
}


@pytest.mark.parametrize(("classes", "values", "message"), MEANT_OTHERWISE.values(), ids=MEANT_OTHERWISE)
def test_what_cannot_be_meant_is_refused(classes, values, message, own, tmp_path, capsys):
    root = own(classes, *[values] * 4)
    with pytest.raises(data.DataError, match=message) as refused:
        judge(root)
    assert "classes.json" in str(refused.value)
    assert "\n" not in str(refused.value)
    # and by inspect, as an error
    assert inspect(DataSource("folder", str(root)), splits="all", output=str(tmp_path / "page")) == 1
    assert "1 errors" in capsys.readouterr().out


WELL_MEANT = {
    "255 is listed": ({"classes": ["a", "b", "c"], "ignore_ids": [255]}, [0, 1, 255], {}),
    "255 is listed by the recipe": (["a", "b", "c"], [0, 1, 255], {"ignore_ids": [255]}),
    "255 is a class": ([{"name": "background", "id": 0}, {"name": "crack", "id": 255}], [0, 255], {}),
    "255 beside all classes": (["a", "b"], [0, 1, 255], {}),
    "a class that never occurs": (["a", "b", "c"], [0, 1], {}),
    "reduced, all ids": ({"classes": ["a", "b"], "reduce_zero_label": True}, [0, 1, 2], {}),
    "reduced, a class in the middle that never occurs": (
        {"classes": ["a", "b", "c", "d"], "reduce_zero_label": True},
        [0, 1, 2, 4],
        {},
    ),
    "an id2label, whose 255 the Hub ignores": ({"0": "a", "1": "b", "2": "c"}, [0, 1, 255], {}),
    "reduced, ids given": (
        {"classes": [{"name": x, "id": i + 1} for i, x in enumerate("abc")], "reduce_zero_label": True},
        [0, 1, 2],
        {},
    ),
}


@pytest.mark.parametrize(("classes", "values", "fields"), WELL_MEANT.values(), ids=WELL_MEANT)
def test_what_can_be_meant_is_taken(classes, values, fields, own, tmp_path):
    root = own(classes, *[values] * 4)
    judge(root, **fields)
    source = DataSource("folder", str(root), **fields)
    assert inspect(source, splits="all", output=str(tmp_path / "page"), pictures=0) == 0


def test_a_rare_class_is_looked_for_in_all_masks(own):
    """Of 200 masks a check reads 64; the one that holds the third class is among the others."""
    masks = [[0, 1, 255]] * 200
    masks[101] = [2]
    root = own(["a", "b", "c"], *masks)
    source = DataSource("folder", str(root))
    findings = data.check(data.load(source, split="all"))
    assert findings.masks < 200
    assert findings.pixels[2] == 0  # or the sample is to be drawn otherwise here
    judge(root)
    write(root, "101", [0, 1, 255])
    with pytest.raises(data.DataError, match="no mask holds c"):
        judge(root)


def test_shares_and_missing_classes_are_said(own, caplog):
    root = own(["a", "b", "c"], [0, 1, 1, 255], [0, 1, 1, 255])
    with caplog.at_level("INFO", logger="modeling_ocrnet"), pytest.raises(data.DataError):
        judge(root)
    assert "all: 2 of 2 masks read: 2 of 3 classes, 25.0% of the pixels are ignored" in caplog.text
    assert "all: no pixel of c in the 2 masks read" in caplog.text


def test_inspect_says_which_classes_no_mask_holds(own, tmp_path, capsys):
    root = own(["a", "<b>", "c"], train=[[0, 0]], val=[[0, 2]])
    assert inspect(DataSource("folder", str(root)), output=str(tmp_path / "page")) == 0
    printed = capsys.readouterr().out
    assert "train: no mask holds <b>, c\nval: no mask holds <b>\n" in printed
    assert "train: no mask holds &lt;b&gt;, c" in (tmp_path / "page" / "folder.html").read_text()


def test_a_split_without_a_labelled_pixel_is_refused(own):
    root = own({"classes": ["a", "b"], "ignore_ids": [255]}, train=[[0, 1]], val=[[255], [255]])
    judge(root, "train")
    with pytest.raises(data.DataError, match=r"val: no pixel of its 2 images is labelled \(2 have masks"):
        judge(root, "val")
    write(root, "val001", [255] * 47 + [1], "val")
    judge(root, "val")


def script(name, *arguments):
    command = [sys.executable, str(REPO / "scripts" / name), *map(str, arguments)]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


def recipe(root, tmp_path):
    file = tmp_path / "recipe.yaml"
    fields = {
        "data": {"name": "folder", "root": str(root), "crop_size": [32, 32], "scale": [48, 32], "workers": 0},
        "model": {
            "variant": "hr18s",
            "backbone": None,
            "backbone_config": TINY_BACKBONE,
            "config": {"ocr_channels": 16, "key_channels": 8},
        },
        "schedule": {"max_steps": 2},
        "logging": {"pictures": 0},
        "global_batch": 2,
        "output": str(tmp_path / "run"),
    }
    file.write_text(json.dumps(fields))
    return file


@pytest.mark.slow
def test_training_and_its_check_refuse_before_they_start(own, tmp_path):
    root = own(["background", "crack"], train=[[0, 255]] * 3, val=[[0, 255]])
    for arguments in (["--check"], []):
        ended = script("train.py", "--config", recipe(root, tmp_path), *arguments)
        assert ended.returncode == 1
        last = ended.stderr.strip().splitlines()[-1]
        assert "no mask holds crack" in last
        assert "ignore_ids [255]" in last
        assert "step 1" not in ended.stderr


@pytest.mark.slow
def test_a_limit_of_images_judges_nothing_but_itself(own, tmp_path):
    """Classes are looked for in the whole split; labels, in what is evaluated."""
    root = own(["a", "b", "c"], train=[[0, 1, 255]] * 2, val=[[255], [0, 2]])
    file = recipe(root, tmp_path)
    for limit, code in ((2, 0), (1, 1)):
        ended = script("train.py", "--config", file, "--check", "--evaluation.limit", limit)
        assert ended.returncode == code, ended.stderr
    assert "val, evaluation.limit 1: no pixel of its 1 images is labelled" in ended.stderr


@pytest.mark.slow
def test_evaluation_of_nothing_is_an_error(own, tmp_path):
    """A model is trained, then evaluated on masks that label nothing: no table, no file, exit code 1, one line."""
    root = own(["a", "b"], train=[[0, 1, 0, 0]] * 3, val=[[0, 1]])
    ended = script("train.py", "--config", recipe(root, tmp_path))
    assert ended.returncode == 0, ended.stderr
    write(root, "val000", [255], "val")
    scores = tmp_path / "scores.json"
    arguments = [tmp_path / "run" / "model", "--name", "folder", "--root", root, "--output", scores]
    ended = script("evaluate.py", *arguments)
    assert ended.returncode == 1
    assert "val: no pixel of its 1 images is labelled" in ended.stderr.strip().splitlines()[-1]
    assert not scores.exists()
    # who asks for predictions gets them, and no scores
    ended = script("evaluate.py", *arguments, "--save_predictions", tmp_path / "ids")
    assert ended.returncode == 0, ended.stderr
    assert "nothing is scored" in ended.stderr
    assert [x.name for x in (tmp_path / "ids").iterdir()] == ["val000.png"]
    assert not scores.exists()


def test_the_first_rows_of_a_stream_are_judged(tmp_path):
    """A folder that load_dataset reads, with masks of 0 and 255, of which nobody said what 255 is."""
    from datasets import Dataset, Features
    from datasets import Image as Column

    from modeling_ocrnet.data.decoding import Decode

    folder = tmp_path / "hub"
    (folder / "data").mkdir(parents=True)
    Image.new("RGB", SIZE[::-1]).save(tmp_path / "a.png")
    Image.fromarray(np.resize(np.array([0, 255], np.uint8), SIZE)).save(tmp_path / "mask.png")
    columns = {"image": [str(tmp_path / "a.png")] * 4, "mask": [str(tmp_path / "mask.png")] * 4}
    rows = Dataset.from_dict(columns, features=Features(image=Column(), mask=Column()))
    rows.to_parquet(str(folder / "data" / "train-0.parquet"))
    (folder / "classes.json").write_text('["background", "crack"]')

    def judge_stream(**fields):
        source = DataSource("hub", path=str(folder), **fields)
        labels = data.label_set(source)
        findings = data.check_sample(data.hub.stream(source, "train").take(3), Decode(labels))
        assert findings.masks == findings.rows == 3
        data.check_classes(labels, [(None, findings)])

    with pytest.raises(data.DataError, match="no mask holds crack, but .* holds 255"):
        judge_stream()
    judge_stream(ignore_ids=[255])
