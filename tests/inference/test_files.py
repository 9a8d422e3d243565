"""scripts/predict.py on files: what it writes, what it refuses, what it survives."""

import sys

import numpy as np
import pytest
import reference
from PIL import Image

from modeling_ocrnet import OCRNetImageProcessor
from modeling_ocrnet.data.decoding import DataError
from modeling_ocrnet.inference import files
from modeling_ocrnet.inference.pictures import class_palette, shares, with_legend
from modeling_ocrnet.inference.segmentation import segment


def picture(seed=0, width=48, height=32):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.fixture
def checkpoint(tmp_path):
    model = reference.mmseg_model(
        label_ids=[7, 8, 11, 0, 33], palette=[[1, 2, 3], [4, 5, 6], [7, 8, 9], [0, 0, 0], [9, 9, 9]]
    )
    model.save_pretrained(tmp_path / "checkpoint")
    OCRNetImageProcessor().save_pretrained(tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def run(monkeypatch, *argv):
    monkeypatch.setattr(sys, "path", ["scripts", *sys.path])
    import predict

    predict.main([str(x) for x in argv])


def test_a_folder_is_segmented_and_an_unreadable_file_named(checkpoint, tmp_path, monkeypatch, capsys):
    photos = tmp_path / "photos"
    (photos / "more").mkdir(parents=True)
    picture(0).save(photos / "a.png")
    picture(1, 60, 40).save(photos / "more" / "b.jpg")
    (photos / "bad.png").write_bytes(b"not a picture")
    (photos / "notes.txt").write_text("not an image")
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, checkpoint, photos, "--output_dir", tmp_path / "out", "--batch_size", "2")
    assert stop.value.code not in (0, None)
    assert "bad.png" in str(stop.value.code)
    assert "2 of 3 images" in capsys.readouterr().out
    written = {str(x.relative_to(tmp_path / "out")) for x in (tmp_path / "out").rglob("*.png")}
    assert written == {f"{name}_{kind}.png" for name in ("a", "more/b") for kind in ("mask", "overlay", "ids")}

    # the dataset's own ids and colours, for what the model says of the pixels
    (label_map,) = segment(reference.mmseg_model(), OCRNetImageProcessor(), [picture(0)])
    ids, mask = (np.asarray(Image.open(tmp_path / "out" / f"a_{x}.png")) for x in ("ids", "mask"))
    np.testing.assert_array_equal(ids, np.array([7, 8, 11, 0, 33])[label_map])
    palette = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9], [0, 0, 0], [9, 9, 9]])
    np.testing.assert_array_equal(mask, palette[label_map])


def test_names_that_differ_in_the_suffix_alone_stay_apart(tmp_path):
    for name in ("a.png", "a.jpg", "b.png"):
        picture().save(tmp_path / name)
    jobs = files.find_jobs([str(tmp_path / "*")], tmp_path / "out")
    assert sorted(job.result("ids").name for job in jobs) == ["a.jpg_ids.png", "a.png_ids.png", "b_ids.png"]


def test_inputs_are_never_overwritten(tmp_path):
    picture().save(tmp_path / "a.png")
    picture().save(tmp_path / "a_mask.png")
    with pytest.raises(DataError, match="a_mask.png: would be overwritten"):
        files.find_jobs([str(tmp_path)], tmp_path)
    # results of an earlier run below the input folder aren't inputs
    (tmp_path / "out").mkdir()
    picture().save(tmp_path / "out" / "a_mask.png")
    assert len(files.find_jobs([str(tmp_path)], tmp_path / "out")) == 2


@pytest.mark.parametrize("missing", ["nothing.png", "empty", "*.tiff"])
def test_inputs_without_images_are_errors(tmp_path, missing):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no image"):
        files.find_jobs([str(tmp_path / missing)], tmp_path / "out")


def test_a_folder_that_is_no_checkpoint_is_one_line(tmp_path, monkeypatch):
    picture().save(tmp_path / "a.png")
    (tmp_path / "run" / "model").mkdir(parents=True)
    (tmp_path / "run" / "model" / "config.json").write_text("{}")
    with pytest.raises(SystemExit, match="did you mean .*model"):
        run(monkeypatch, tmp_path / "run", tmp_path / "a.png", "--output_dir", tmp_path / "out")


def test_the_legend_names_what_is_found():
    label_map = np.array([[0, 0, 0, 2], [255, 255, 2, 0]], np.uint8).repeat(30, 0).repeat(60, 1)
    assert shares(label_map, 3) == [(0, 0.5), (2, 0.25)]
    palette = class_palette([[255, 0, 0], [0, 255, 0], [0, 0, 255]], 3)
    page = np.asarray(with_legend(np.zeros((60, 240, 3), np.uint8), label_map, ["a", "b", "c"], palette))
    legend = page[60:].reshape(-1, 3).tolist()
    assert [255, 0, 0] in legend
    assert [0, 0, 255] in legend
    assert [0, 255, 0] not in legend


def test_the_default_colours_are_those_of_pascal_voc():
    """After its black background: aeroplane, bicycle, bird, ..., tv monitor (20)."""
    palette = class_palette(None, 255)
    assert palette[[0, 1, 2, 19]].tolist() == [[128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 64, 128]]
    assert len(np.unique(palette[:255], axis=0)) == 255
