"""The command `export`, as the README gives it."""

import json

import pytest

from modeling_ocrnet import data


@pytest.mark.parametrize("store", ["parquet", "raw"])
def test_the_command(prepare_data, scenes, tmp_path, capsys, store):
    folder = tmp_path / "out"
    argv = ["export", "street_scenes", folder, "--root", scenes, "--store", store, "--splits", "train,val"]
    assert prepare_data(*argv) == 0
    assert f"written: {folder}" in capsys.readouterr().out
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["complete"]
    assert manifest["splits"] == {"train": 10, "val": len(data.load("street_scenes", scenes, "val"))}


def test_what_is_refused(prepare_data, scenes, tmp_path):
    assert "'folder' isn't exported" in prepare_data("export", "folder", tmp_path / "out", "--root", tmp_path)
    data.load("street_scenes", scenes)
    prepare_data("export", "street_scenes", tmp_path / "raw", "--root", scenes, "--store", "raw")
    message = prepare_data("inspect", "street_scenes", "--root", tmp_path / "raw", "--output_dir", tmp_path)
    assert "an export, checked when it was written" in message
