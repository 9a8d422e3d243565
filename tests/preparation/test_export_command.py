"""The command `export`, as the README gives it."""

import json

import numpy as np
import pytest
from PIL import Image

from modeling_ocrnet import data


@pytest.mark.parametrize("store", ["parquet", "raw"])
def test_the_command(prepare_data, scenes, tmp_path, capsys, store):
    """Its manifest against the number of scenes."""
    folder = tmp_path / "out"
    argv = ["export", "street_scenes", folder, "--root", scenes, "--store", store, "--splits", "train,val"]
    assert prepare_data(*argv) == 0
    assert f"written: {folder}" in capsys.readouterr().out
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["complete"]
    assert manifest["splits"] == {"train": 10, "val": len(data.load("street_scenes", scenes, "val"))}


@pytest.fixture
def own(tmp_path):
    """Own data in colours, one class of it ignored, a fifth of it held out."""
    root, rng = tmp_path / "own", np.random.default_rng(0)
    colors = np.array([(128, 64, 128), (0, 90, 0), (0, 0, 142)], np.uint8)
    for i in range(10):
        image, mask = root / "images" / f"{i}.jpg", root / "masks" / f"{i}.png"
        for path in (image, mask):
            path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (9, 13, 3), dtype=np.uint8)).save(image)
        Image.fromarray(colors[rng.integers(0, 3, (9, 13))]).save(mask)
    classes = [{"name": f"class {i}", "id": i, "color": x} for i, x in enumerate(colors.tolist())]
    content = {"classes": classes, "flip_pairs": [["class 0", "class 2"]]}
    (root / "classes.json").write_text(json.dumps(content))
    return root


@pytest.mark.parametrize("store", ["parquet", "raw"])
def test_own_data_comes_out_as_it_went_in(own, prepare_data, tmp_path, store):
    how = {"ignore_ids": [1], "val_share": 0.3}
    options = ["--root", own, "--ignore_ids", "[1]", "--val_share", 0.3, "--store", store]
    assert prepare_data("export", "folder", tmp_path / "out", *options) == 0
    source = data.DataSource("folder", str(own), **how)
    if store == "raw":  # the same recipe, with another root
        stored = data.DataSource("folder", str(tmp_path / "out"), **how)
    else:
        stored = data.DataSource("hub", path=str(tmp_path / "out"), mask_column="label")
    assert data.label_set(stored).names == data.label_set(source).names == ("class 0", "class 2")
    assert data.label_set(stored).flip_pairs == data.label_set(source).flip_pairs == ((0, 1),)
    for split in ("train", "val"):
        data.check(data.load(stored, split=split))
        pairs = list(zip(data.load(stored, split=split), data.load(source, split=split), strict=True))
        assert pairs
        for found, expected in pairs:
            np.testing.assert_array_equal(np.asarray(found["image"]), np.asarray(expected["image"]))
            np.testing.assert_array_equal(np.asarray(found["label"]), np.asarray(expected["label"]))


def test_other_classes_dont_go_on_in_the_same_export(own, prepare_data, tmp_path):
    options = ["--root", own, "--val_share", 0.3]
    prepare_data("export", "folder", tmp_path / "out", *options)
    message = prepare_data("export", "folder", tmp_path / "out", *options, "--ignore_ids", "[1]")
    assert "was exported with classes" in message


def test_what_is_refused(prepare_data, scenes, tmp_path):
    message = prepare_data("export", "hub", tmp_path / "out", "--path", "user/set")
    assert "only datasets in folders are exported" in message
    prepare_data("export", "street_scenes", tmp_path / "raw", "--root", scenes, "--store", "raw")
    message = prepare_data("inspect", "street_scenes", "--root", tmp_path / "raw", "--output", tmp_path)
    assert "is an export, which was checked when it was written" in message
