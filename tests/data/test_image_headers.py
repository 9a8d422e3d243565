"""How many pixels an image may have: a limit of our own, whatever Pillow's is in this process."""

import warnings
from pathlib import Path

import numpy as np
import psutil
import pytest
from helpers.corrupt_files import picture, png
from helpers.own_data import DRAWN, classes, pair, photo, source, write
from PIL import Image

from modeling_ocrnet import data
from modeling_ocrnet.common.errors import UserError
from modeling_ocrnet.data.class_proposal import suggest_classes_json
from modeling_ocrnet.data.decoding import DataError, read_image, read_mask
from modeling_ocrnet.data.image_headers import MAX_PIXELS, open_image
from modeling_ocrnet.data.numpy_rows import NumpyRows
from modeling_ocrnet.inference import Predictor
from modeling_ocrnet.inference.images import as_image
from modeling_ocrnet.training.recipe import Recipe, as_dict, differences

TURNED = Image.Exif()
TURNED[0x0112] = 6
FILES = {
    "bmp": ("BMP", "RGB", {}),
    "gif": ("GIF", "L", {}),
    "jpeg": ("JPEG", "RGB", {"exif": TURNED}),
    "jp2": ("JPEG2000", "RGB", {}),
    "png": ("PNG", "RGBA", {}),
    "ppm": ("PPM", "RGB", {}),
    "plain tiff": ("TIFF", "RGB", {}),
    "packed tiff": ("TIFF", "L", {"compression": "tiff_deflate"}),
    "turned tiff": ("TIFF", "RGB", {"exif": TURNED, "compression": "tiff_lzw"}),
    "float tiff": ("TIFF", "F", {"compression": "tiff_deflate"}),
}
LIMIT = 16 * 12


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("as_bytes", [True, False])
def test_every_format_is_read_past_pillows_limit(name, as_bytes, tmp_path, monkeypatch):
    """The same as without one, without a warning; Pillow's limit stays what it was."""
    form, mode, options = FILES[name]
    content, path = picture(form, mode, **options), tmp_path / "x"
    path.write_bytes(content)
    entry = {"path": str(path), "bytes": content if as_bytes else None}
    limits = [0, 255] if mode == "F" else None
    expected = np.asarray(read_image(entry, limits))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        np.testing.assert_array_equal(read_image(entry, limits, max_pixels=LIMIT), expected)
    assert Image.MAX_IMAGE_PIXELS == 10
    with pytest.raises(DataError, match=r"x: (16x12|12x16) is 192 pixels, and max_pixels is 191,.*--max_pixels 192 "):
        read_image(entry, limits, max_pixels=LIMIT - 1)


def test_a_palette_past_pillows_limit_keeps_its_indices(tmp_path, monkeypatch):
    ids = Image.fromarray(DRAWN).convert("P")
    ids.putpalette([7] * 768)
    write(tmp_path / "ids.tif", ids, compression="tiff_deflate")
    expected = np.asarray(ids)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    labels = data.label_set("camvid")
    with open_image({"path": str(tmp_path / "ids.tif"), "bytes": None}) as opened:
        assert opened.mode == "P"
    mask = read_mask({"path": str(tmp_path / "ids.tif"), "bytes": None}, labels, train_ids=True)
    np.testing.assert_array_equal(np.asarray(mask), expected)


def test_a_reader_of_pillows_own_mind_is_named(tmp_path, monkeypatch):
    """Some versions' WebP reader checks the size before it opens the file: no limit of ours helps."""
    (tmp_path / "x.webp").write_bytes(picture("WEBP", lossless=True))
    source = {"path": str(tmp_path / "x.webp"), "bytes": None}
    expected = np.asarray(Image.open(tmp_path / "x.webp"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    try:
        found, said = np.asarray(read_image(source)), None
    except DataError as error:
        found, said = expected, str(error)
    np.testing.assert_array_equal(found, expected)
    assert said is None or said.startswith(f"{tmp_path}/x.webp: too large for Pillow's reader (")


def test_the_default_is_pillows():
    assert MAX_PIXELS == 2 * Image.MAX_IMAGE_PIXELS


def test_a_small_file_that_claims_gigabytes(tmp_path):
    """It is refused by its header, and not left open."""
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(png(60000, 60000, b""))
    with pytest.raises(DataError) as refused:
        open_image({"path": str(bomb), "bytes": None})
    assert str(refused.value) == (
        f"{bomb}: 60000x60000 is 3600000000 pixels, and max_pixels is 178956970, because a small file can claim any "
        "size: if this one is right, give --max_pixels 3600000000 (--data.max_pixels for a dataset, "
        "max_pixels= in a program)"
    )
    assert str(bomb) not in [x.path for x in psutil.Process().open_files()]
    with open_image({"path": str(bomb), "bytes": None}, 3600000000) as opened:
        assert opened.size == (60000, 60000)
        assert str(bomb) in [x.path for x in psutil.Process().open_files()]


@pytest.fixture
def own(tmp_path):
    """A pair of small images and one of 16x12."""
    root = tmp_path / "own"
    pair(root, pixels=DRAWN)
    photo(root / "images/train/b.png", (12, 16))
    write(root / "masks/train/b.png", np.full((12, 16), 1, np.uint8))
    classes(root)
    return root


READERS = {
    "check": lambda rows: data.check(rows),
    "rows": lambda rows: list(rows),
    "arrays": lambda rows: [NumpyRows(rows)[i] for i in range(len(rows))],
}


@pytest.mark.parametrize("reader", READERS)
def test_a_dataset_has_a_limit_of_its_own(reader, own):
    small, large = (data.load(source(own, max_pixels=x), split="train") for x in (LIMIT - 1, LIMIT))
    READERS[reader](large)
    for _ in range(2):  # what a check with another limit found isn't recalled
        with pytest.raises(DataError, match=r"b\.png: 16x12 is 192 pixels, and max_pixels is 191"):
            READERS[reader](small)


def test_masks_have_the_same_limit(own):
    mask = {"path": str(own / "masks/train/b.png"), "bytes": None}
    with pytest.raises(DataError, match=r"b\.png: 16x12 is 192 pixels"):
        suggest_classes_json([mask], LIMIT - 1)
    (own / "classes.json").unlink()
    with pytest.raises(DataError, match=r"masks/train/b\.png: 16x12 is 192 pixels"):
        data.label_set(source(own, max_pixels=LIMIT - 1))


def test_a_program_has_it_too(own):
    content = (own / "images/train/b.png").read_bytes()
    for given in (content, own / "images/train/b.png"):
        assert as_image(given, max_pixels=LIMIT).size == (16, 12)
        with pytest.raises(DataError, match="16x12 is 192 pixels, and max_pixels is 191"):
            as_image(given, max_pixels=LIMIT - 1)


@pytest.mark.parametrize("make", [lambda: source(Path("x"), max_pixels=0), lambda: Predictor("nothing", max_pixels=0)])
def test_a_limit_that_no_image_meets_is_refused(make):
    with pytest.raises(UserError, match="max_pixels is 0, expected a whole number of pixels, 1 or more"):
        make()


def test_a_run_may_be_resumed_with_another_limit():
    ours, theirs = as_dict(Recipe()), as_dict(Recipe())
    theirs["data"]["max_pixels"] = 7
    assert differences(ours, theirs) == []
    assert ours["data"]["max_pixels"] == MAX_PIXELS
