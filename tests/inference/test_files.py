"""scripts/predict.py on files: what it writes, what it refuses, what it survives."""

import importlib
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from helpers import reference
from PIL import Image

from modeling_ocrnet import OCRNetImageProcessor
from modeling_ocrnet.data.decoding import DataError
from modeling_ocrnet.data.image_files import RULE
from modeling_ocrnet.inference import drawing, files
from modeling_ocrnet.inference.drawing import class_palette, shares, with_legend
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
        run(monkeypatch, checkpoint, photos, "--output", tmp_path / "out", "--batch_size", "2")
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


def test_suffixes_that_are_not_read_are_named(tmp_path, caplog):
    for name in ("a.png", "b.heic", "more/c.GIF"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(b"")
    with caplog.at_level("WARNING"):
        jobs = files.collect_inputs([str(tmp_path / "photos")], tmp_path / "out")
    assert [x.image.name for x in jobs] == ["a.png"]
    assert caplog.messages == [
        f"{tmp_path}/photos/b.heic and 1 more: left out, only bmp, jfif, jpeg, jpg, pgm, png, ppm, tif, tiff, webp are "
        "read: convert to PNG"
    ]
    for given in (tmp_path / "photos/more", tmp_path / "photos/*/*.GIF"):
        with pytest.raises(DataError, match=r"holds no image that is read; .*/c\.GIF: left out, only bmp"):
            files.collect_inputs([str(given)], tmp_path / "out")
    # who names a file means it
    assert len(files.collect_inputs([str(tmp_path / "photos/more/c.GIF")], tmp_path / "out")) == 1


def test_the_limit_of_pixels_is_an_option(checkpoint, tmp_path, monkeypatch, capsys):
    """Whatever Pillow's own is."""
    picture().save(tmp_path / "a.tif")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 600)  # a legend has less than twice that
    given = (checkpoint, tmp_path / "a.tif", "--output", tmp_path / "out", "--window", "32,32")
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, *given, "--max_pixels", 48 * 32 - 1)
    assert f"{tmp_path}/a.tif: 48x32 is 1536 pixels, and max_pixels is 1535, " in str(stop.value.code)
    assert "--max_pixels 1536" in str(stop.value.code)
    run(monkeypatch, *given, "--max_pixels", 48 * 32)
    assert "1 of 1 images" in capsys.readouterr().out
    assert (tmp_path / "out" / "a_ids.png").is_file()
    assert Image.MAX_IMAGE_PIXELS == 600
    with pytest.raises(SystemExit, match="max_pixels is 0, expected a whole number of pixels"):
        run(monkeypatch, *given, "--max_pixels", 0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_drawing_in_strips_is_drawing_at_once(dtype, monkeypatch):
    """By the formula, in floats of the whole picture."""
    random = np.random.default_rng(0)
    image, palette = (random.integers(0, 256, x, dtype=np.uint8) for x in ((11, 7, 3), (np.iinfo(dtype).max + 1, 3)))
    label_map = random.choice(np.array([0, 1, 4, np.iinfo(dtype).max], dtype), (11, 7))
    expected = (0.4 * image + 0.6 * palette[label_map]).round()
    expected[label_map == np.iinfo(dtype).max] = image[label_map == np.iinfo(dtype).max]
    monkeypatch.setattr(drawing, "STRIP", 15)
    np.testing.assert_array_equal(drawing.overlay(image, label_map, palette, opacity=0.6), expected)
    counts = {i: (label_map == i).sum() / 77 for i in (0, 1, 4)}
    assert dict(drawing.shares(label_map, 5)) == counts


@pytest.mark.slow
def test_two_images_of_one_name_have_two_results(checkpoint, tmp_path, monkeypatch, capsys, caplog):
    for i, folder in enumerate(("day", "night")):
        (tmp_path / folder).mkdir()
        picture(i).save(tmp_path / folder / "001.png")
    with caplog.at_level("INFO"):
        run(monkeypatch, checkpoint, tmp_path / "day", tmp_path / "night", "--output", tmp_path / "out")
    assert "2 of 2 images" in capsys.readouterr().out
    assert sum(f"results keep their paths below {tmp_path}" in x for x in caplog.messages) == 1
    for i, folder in enumerate(("day", "night")):
        (label_map,) = segment(reference.mmseg_model(), OCRNetImageProcessor(), [picture(i)])
        ids = np.asarray(Image.open(tmp_path / "out" / folder / "001_ids.png"))
        np.testing.assert_array_equal(ids, np.array([7, 8, 11, 0, 33])[label_map])


NFC, NFD = (unicodedata.normalize(form, "über") for form in ("NFC", "NFD"))
# images, inputs, and the results' names
TARGETS = {
    "suffixes": (["a.png", "a.jpg", "b.png"], ["*"], ["a.jpg", "a.png", "b"]),
    "suffix in a name": (["x.jpg", "x.png", "x.jpg.png"], ["."], ["x.jpg", "x.jpg.png", "x.png"]),
    "one folder": (["d/a.png", "d/e/a.png"], ["d"], ["a", "e/a"]),
    "two folders": (["d/a.png", "e/a.png", "e/b.png"], ["d", "e"], ["d/a", "e/a", "e/b"]),
    "two files": (["d/a.png", "e/a.png"], ["d/a.png", "e/a.png"], ["d/a", "e/a"]),
    "two patterns": (["d/a.png", "e/a.jpg", "e/a.png"], ["d/*", "e/*"], ["d/a", "e/a.jpg", "e/a.png"]),
    "two depths": (["d/a.png", "e/f/a.png"], ["d", "e/f"], ["d/a", "e/f/a"]),
    "one in the other": (["d/a.png", "d/e/a.png"], ["d/e", "d"], ["a", "e/a"]),
    "two cases": (["d/A.png", "e/a.png"], ["d", "e"], ["d/A", "e/a"]),
    "two cases, two suffixes": (["A.png", "a.jpg"], ["."], ["A.png", "a.jpg"]),
    "two spellings": ([f"d/{NFC}.png", f"e/{NFD}.png"], ["d", "e"], [f"d/{NFC}", f"e/{NFD}"]),
    "a folder of a pattern": (["p/d/a.png", "p/e/a.png"], ["p/*"], ["d/a", "e/a"]),
    "all of a pattern": (["p/d/a.png", "p/e/f/a.png"], ["p/**"], ["d/a", "e/f/a"]),
    "twice": (["d/a.png"], ["d/a.png", "d/../d/a.png", "./d", "d/*"], ["a"]),
    "in another spelling": ([f"{NFD}.png"], [f"{NFC}.png"], [NFD]),
    "in a folder's other spelling": ([f"{NFD}/a.png"], [f"{NFC}/*.png"], ["a"]),
}


@pytest.mark.parametrize("kind", TARGETS)
def test_no_two_inputs_share_a_result(kind, tmp_path, monkeypatch):
    images, inputs, expected = TARGETS[kind]
    monkeypatch.chdir(tmp_path)
    for image in images:
        Path(image).parent.mkdir(parents=True, exist_ok=True)
        picture().save(image)
    jobs = files.collect_inputs(inputs, "out")
    assert sorted(str(x.target.relative_to("out")) for x in jobs) == expected
    assert {x.image.resolve() for x in jobs} == {Path(x).resolve() for x in images}
    assert len({unicodedata.normalize("NFD", str(x.target)).lower() for x in jobs}) == len(images)


def test_inputs_without_a_folder_in_common_are_refused(tmp_path, monkeypatch):
    """As two drives of Windows are."""

    def on_two_drives(paths):
        raise ValueError("Paths don't have the same drive")

    for folder in "de":
        (tmp_path / folder).mkdir()
        picture().save(tmp_path / folder / "a.png")
    monkeypatch.setattr(files.os.path, "commonpath", on_two_drives)
    with pytest.raises(
        DataError, match=r"d/a.png and .*e/a.png: both results would be called a.png: run them separately"
    ):
        files.collect_inputs([str(tmp_path / "d"), str(tmp_path / "e")], tmp_path / "out")


def test_a_folder_is_read_with_its_links_and_without_what_is_hidden(tmp_path):
    for name in ("photos/a.png", "photos/.ipynb_checkpoints/a.png", "far/b.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        picture().save(tmp_path / name)
    photos = tmp_path / "photos"
    (photos / "._a.png").write_bytes(b"no picture")
    (photos / "linked").symlink_to(tmp_path / "far")
    (photos / "again").symlink_to(photos)

    def found(*inputs):
        return sorted(
            str(x.target.relative_to(tmp_path / "out")) for x in files.collect_inputs(inputs, tmp_path / "out")
        )

    assert found(str(photos)) == ["a", "linked/b"]
    # but what is named is meant
    assert found(str(photos / ".ipynb_checkpoints")) == ["a"]
    assert found(str(photos / "._a.png")) == ["._a"]


@pytest.mark.parametrize("script", ["predict", "export"])
def test_help_says_what_a_folder_holds(script, monkeypatch, capsys):
    monkeypatch.setattr(sys, "path", [*sys.path, "scripts"])  # where evaluate.py hides no package
    with pytest.raises(SystemExit):
        importlib.import_module(script).main(["--help"])
    assert RULE in " ".join(capsys.readouterr().out.split())


def test_inputs_are_never_overwritten(tmp_path):
    picture().save(tmp_path / "a.png")
    picture().save(tmp_path / "a_mask.png")
    with pytest.raises(DataError, match="a_mask.png: would be overwritten"):
        files.collect_inputs([str(tmp_path)], tmp_path)
    # results of an earlier run below the input folder aren't inputs
    (tmp_path / "out").mkdir()
    picture().save(tmp_path / "out" / "a_mask.png")
    for text in (tmp_path, tmp_path / "*", tmp_path / "**"):
        assert len(files.collect_inputs([str(text)], tmp_path / "out")) == 2


@pytest.mark.parametrize("missing", ["nothing.png", "empty", "*.tiff"])
def test_inputs_without_images_are_errors(tmp_path, missing):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="not an image, a folder with images or a matching pattern"):
        files.collect_inputs([str(tmp_path / missing)], tmp_path / "out")


def test_a_folder_that_is_no_checkpoint_is_one_line(tmp_path, monkeypatch):
    picture().save(tmp_path / "a.png")
    (tmp_path / "run" / "model").mkdir(parents=True)
    (tmp_path / "run" / "model" / "config.json").write_text("{}")
    with pytest.raises(SystemExit, match="did you mean .*model"):
        run(monkeypatch, tmp_path / "run", tmp_path / "a.png", "--output", tmp_path / "out")


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
