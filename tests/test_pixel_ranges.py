"""One conversion of pixels to RGB for every entry: arrays, PIL's images, files, both backends, training, Predictor."""

import sys

import numpy as np
import pytest
import torch
from helpers import reference
from helpers.tiny import undecided
from PIL import Image

from modeling_ocrnet import OCRNetImageProcessor, OCRNetImageProcessorPil, data
from modeling_ocrnet.data.decoding import DataError, read_image
from modeling_ocrnet.inference.predictor import Predictor
from modeling_ocrnet.pixels_ocrnet import scale_values, to_range, to_rgb
from modeling_ocrnet.preparation.statistics import collect_statistics

BACKENDS = [OCRNetImageProcessor, OCRNetImageProcessorPil]
GREY = np.linspace(0, 65535, 24 * 40, dtype=np.uint16).reshape(24, 40)


def expected(values, low, high):
    """8-bit greys, written out: from black at `low` to white at `high`."""
    return np.clip(np.round((values.astype(np.float64) - low) / (high - low) * 255), 0, 255).astype(np.uint8)


def entries(values, tmp_path):
    """16-bit greys as everything that they can come as."""
    Image.fromarray(values).save(tmp_path / "grey.png")
    Image.fromarray(values).save(tmp_path / "grey.tif")
    return {
        "array": values[..., None],
        "array of colours": np.dstack([values] * 3),
        "tensor": torch.from_numpy(np.stack([values] * 3)),
        "PIL": Image.fromarray(values),
        "PNG": Image.open(tmp_path / "grey.png"),
        "TIFF": Image.open(tmp_path / "grey.tif"),
    }


@pytest.mark.parametrize("value_range", [None, 12, [1000, 3000]])
@pytest.mark.parametrize("backend", BACKENDS)
def test_sixteen_bits_are_scaled_alike_by_every_entry(backend, value_range, tmp_path):
    low, high = {None: (0, 65535), 12: (0, 4095)}.get(value_range if isinstance(value_range, int) else None, (0, 0))
    if isinstance(value_range, list):
        low, high = value_range
    values = (GREY // 16 if value_range else GREY).astype(np.uint16)
    grey = expected(values, low, high)
    processor = backend(do_normalize=False, do_rescale=False, value_range=value_range)
    for name, entry in entries(values, tmp_path).items():
        (pixels,) = processor(entry)["pixel_values"]
        called = backend(do_normalize=False, do_rescale=False)(entry, value_range=value_range)["pixel_values"][0]
        np.testing.assert_array_equal(np.asarray(called), np.asarray(pixels), err_msg=name)
        for channel in np.asarray(pixels):
            np.testing.assert_array_equal(channel, grey, err_msg=name)
    for file in ("grey.png", "grey.tif"):
        read = np.asarray(read_image({"path": str(tmp_path / file), "bytes": None}, value_range))
        np.testing.assert_array_equal(read[..., 0], grey, err_msg=file)


@pytest.mark.parametrize("backend", BACKENDS)
def test_floats_between_0_and_1_are_what_they_are_between_0_and_255(backend):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (20, 30, 3)).astype(np.float32)
    image[0, 0] = 255
    ours, theirs = (backend()(x)["pixel_values"][0] for x in (image / 255, image))
    np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), atol=1e-4)
    whole = backend()(image.astype(np.uint8))["pixel_values"][0]
    np.testing.assert_allclose(np.asarray(theirs), np.asarray(whole), atol=1e-4)
    # who scales by himself is left alone
    alone = backend(do_rescale=False, do_normalize=False)(image / 255)["pixel_values"][0]
    np.testing.assert_array_equal(np.moveaxis(np.asarray(alone), 0, 2), image / 255)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full((4, 4), 10000.0, np.float32), "pixels of float32 from 10000 to 10000, expected 0 to 1 or 0 to 255"),
        (np.full((4, 4), -3.0, np.float32), "from -3 to -3, expected 0 to 1 or 0 to 255"),
        (np.array([[0.0, np.nan]], np.float32), "NaN or infinite"),
        (np.full((4, 4), 300, np.int64), "pixels of int64 from 300 to 300, expected 0 to 255"),
        (np.full((4, 4), 2**17, np.int32), "expected 0 to 255"),
        (np.full((4, 4), 1j), "pixels of complex128"),
    ],
)
def test_values_whose_black_and_white_nobody_told_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        scale_values(values)


def test_whole_numbers_and_flags():
    np.testing.assert_array_equal(scale_values(np.array([0, 7, 255])), np.array([0, 7, 255], np.uint8))
    np.testing.assert_array_equal(scale_values(np.array([False, True])), np.array([0, 255], np.uint8))
    np.testing.assert_array_equal(scale_values(np.array([-5.0, 0.0, 5.0]), [-5, 5]), [0, 127.5, 255])


@pytest.mark.parametrize("wrong", [0, 33, True, [3, 3], [5, 1], [0, float("nan")], [0, float("inf")]])
def test_a_range_that_is_none_is_refused(wrong):
    with pytest.raises(ValueError, match="value_range is .*expected two numbers, the lower one first, or 1 to 32 bits"):
        to_range(wrong)


def test_whole_numbers_of_32_bits_are_bytes_in_every_entry(tmp_path):
    grey = np.arange(48, dtype=np.int32).reshape(6, 8) * 5
    Image.fromarray(grey).save(tmp_path / "a.tif")
    source = {"path": str(tmp_path / "a.tif"), "bytes": None}
    for found in (to_rgb(Image.fromarray(grey)), read_image(source), to_rgb(Image.open(tmp_path / "a.tif"))):
        np.testing.assert_array_equal(np.asarray(found)[..., 0], grey)
    with pytest.raises(ValueError, match="pixels of int32 from 0 to 4700, expected 0 to 255"):
        to_rgb(Image.fromarray(grey * 20))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_range_is_refused_where_none_can_be_told(backend, tmp_path):
    import cv2

    cv2.imwrite(str(tmp_path / "a.png"), np.full((8, 8, 3), 4000, np.uint16))
    for read in (
        lambda: backend(value_range=12)(Image.open(tmp_path / "a.png")),
        lambda: to_rgb(Image.open(tmp_path / "a.png"), 12),
        lambda: read_image({"path": str(tmp_path / "a.png"), "bytes": None}, 12),
    ):
        with pytest.raises(ValueError, match="16-bit colours, of which only the upper 8 bits are read"):
            read()
    with pytest.raises(ValueError, match=r"value_range is \[5, 1\], expected"):
        backend()(np.zeros((8, 8, 3), np.uint8), value_range=[5, 1])


def test_a_float_file_beyond_the_range_is_named(tmp_path):
    Image.fromarray(np.full((4, 4), 9000, np.float32)).save(tmp_path / "a.tif")
    source = {"path": str(tmp_path / "a.tif"), "bytes": None}
    with pytest.raises(DataError, match=r"a.tif: pixels of float32 from 9000 to 9000, .* value_range"):
        read_image(source)
    assert np.asarray(read_image(source, [0, 10000])).tolist() == [[[230] * 3] * 4] * 4  # 229.5


def turned(image, orientation):
    """The image as a camera would store it: EXIF says how to turn it back."""
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]  # PIL's Transpose
    stored = image.transpose(Image.Transpose(undo))
    exif = Image.Exif()
    exif[0x0112] = orientation
    return stored, exif


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("size", [(40, 24), (32, 32)])
@pytest.mark.parametrize("kind", ["a.tif", "a.png", "grey.tif", "wide.tif"])
def test_exif_turns_every_entry_alike(orientation, size, kind, tmp_path):
    """Of uncompressed TIFFs too, whose greys Pillow scrambles where it maps the file."""
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    if kind != "a.tif" and kind != "a.png":
        pixels = pixels[..., :1].repeat(3, 2)
    image = Image.fromarray(pixels)
    content = {"grey.tif": pixels[..., 0], "wide.tif": pixels[..., 0].astype(np.uint16) * 257}.get(kind, pixels)
    stored, exif = turned(Image.fromarray(content), orientation)
    path = tmp_path / kind
    stored.save(path, exif=exif)
    source = {"path": str(path), "bytes": None}
    for upright in (read_image(source), to_rgb(Image.open(path)), to_rgb(to_rgb(Image.open(path)))):
        np.testing.assert_array_equal(upright, image)
    plain = np.moveaxis(np.asarray(image), 2, 0)
    for backend in BACKENDS:
        (seen,) = backend(do_normalize=False, do_rescale=False)(Image.open(path))["pixel_values"]
        np.testing.assert_array_equal(np.asarray(seen), plain)


def test_predictor_sees_a_file_an_opened_image_and_a_range_alike(tmp_path):
    picture = np.random.default_rng(0).integers(0, 4096, (6, 8)).repeat(16, 0).repeat(16, 1).astype(np.uint16)
    (image,) = OCRNetImageProcessor(value_range=12)(picture[..., None])["pixel_values"]
    undecided(reference.mmseg_model(), image).save_pretrained(tmp_path / "model")
    OCRNetImageProcessor(value_range=12).save_pretrained(tmp_path / "model")
    stored, exif = turned(Image.fromarray(picture), 6)
    stored.save(tmp_path / "a.tif", exif=exif)
    predict = Predictor(tmp_path / "model", precision="fp32")
    found = [predict(x) for x in (tmp_path / "a.tif", str(tmp_path / "a.tif"), Image.open(tmp_path / "a.tif"))]
    plain = predict(Image.fromarray(expected(picture, 0, 4095)))
    assert len(np.unique(plain)) > 1
    for label_map in found:
        np.testing.assert_array_equal(label_map, plain)
    np.testing.assert_array_equal(predict(picture), plain)
    other = Predictor(tmp_path / "model", precision="fp32", value_range=[0, 4095 * 16])
    np.testing.assert_array_equal(other(picture * 16), plain)


def test_predict_says_what_is_odd_and_takes_a_range(tmp_path, monkeypatch, caplog):
    picture = np.random.default_rng(0).integers(0, 4096, (6, 8)).repeat(16, 0).repeat(16, 1).astype(np.uint16)
    (image,) = OCRNetImageProcessor(value_range=12)(picture[..., None])["pixel_values"]
    undecided(reference.mmseg_model(), image).save_pretrained(tmp_path / "model")
    OCRNetImageProcessor().save_pretrained(tmp_path / "model")
    Image.fromarray(picture).save(tmp_path / "a.tif")
    Image.fromarray(expected(picture, 0, 4095)).save(tmp_path / "b.png")
    monkeypatch.setattr(sys, "path", ["scripts", *sys.path])
    import predict

    def label_map(file, *options):
        arguments = [tmp_path / "model", tmp_path / file, "--output", tmp_path / "out", *options]
        predict.main([str(x) for x in arguments])
        return np.asarray(Image.open(tmp_path / "out" / f"{file[0]}_ids.png"))

    dark, plain = label_map("a.tif"), label_map("b.png")
    assert f"a.tif: 16-bit values up to {picture.max()}, taken as 0 to 65535" in caplog.text
    assert (dark != plain).any()
    caplog.clear()
    np.testing.assert_array_equal(label_map("a.tif", "--value_range", "12"), plain)
    np.testing.assert_array_equal(label_map("a.tif", "--value_range", "[0,4095]"), plain)
    assert "16-bit" not in caplog.text
    with pytest.raises(SystemExit, match=r"predict.py: value_range is 0, expected"):
        label_map("a.tif", "--value_range", "0")


@pytest.fixture
def own(tmp_path):
    """Pictures of a 12-bit camera, and one that EXIF turns upside down; masks of two classes."""
    for folder in ("images", "masks"):
        (tmp_path / "own" / folder).mkdir(parents=True)
    for i in range(3):
        Image.fromarray(GREY // 16).save(tmp_path / "own" / "images" / f"{i}.tif")
    stored, exif = turned(Image.fromarray(np.full((24, 40, 3), 200, np.uint8)), 3)
    stored.save(tmp_path / "own" / "images" / "upside_down.jpg", exif=exif)
    for name in ("0", "1", "2", "upside_down"):
        mask = np.zeros((24, 40), np.uint8)
        mask[:, 20:] = 1
        Image.fromarray(mask).save(tmp_path / "own" / "masks" / f"{name}.png")
    (tmp_path / "own" / "classes.json").write_text('["a", "b"]')
    return tmp_path / "own"


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_turned_images_are_counted_in_every_format(own, suffix):
    stored, exif = turned(Image.fromarray(np.full((24, 40, 3), 200, np.uint8)), 3)
    (own / "images" / "upside_down.jpg").unlink()
    stored.save(own / "images" / f"upside_down.{suffix}", exif=exif)
    source = data.DataSource("folder", str(own), value_range=12)
    assert data.check(data.load(source, split="all")).turned == 1
    (split,) = collect_statistics(source, ["all"]).splits
    assert split.turned == ["upside_down"]


@pytest.mark.parametrize("again", [False, True])
def test_a_check_names_odd_ranges_and_counts_what_exif_turns(own, again, caplog):
    """Also the second time, when nothing is opened."""
    source = data.DataSource("folder", str(own))
    for _ in range(1 + again):
        caplog.clear()
        with caplog.at_level("INFO", logger="modeling_ocrnet"):
            rows = data.load(source, split="all")
            data.log_findings(data.check(rows), data.label_set(source), "all")
    text = caplog.text
    for i in range(3):
        assert f"{i}.tif: 16-bit values up to 4095, taken as 0 to 65535: nearly black" in text
    assert "value_range 12" in text
    assert "EXIF turns 1 of 4 images" in text
    assert "/upside_down.jpg: their masks are assumed to match the turned image" in text
    # with the range, the pictures are what they were meant to be
    source = data.DataSource("folder", str(own), value_range=12)
    rows = data.load(source, split="all")
    assert data.check(rows).unusual == []
    np.testing.assert_array_equal(np.asarray(rows[0]["image"])[..., 0], expected(GREY // 16, 0, 4095))


def test_a_range_is_for_own_data_and_a_store_has_its_own(own, tmp_path):
    from modeling_ocrnet.preparation.export_dataset import export

    with pytest.raises(ValueError, match="value_range is given, but dataset 'camvid' doesn't take it"):
        data.DataSource("camvid", value_range=12)
    source = data.DataSource("folder", str(own), value_range=12)
    with pytest.raises(ValueError, match="a Parquet export .* can't store a value_range"):
        export(source, str(tmp_path / "parquet"), splits="all")
    folder = export(source, str(tmp_path / "store"), splits="all", store="raw")
    for given in (None, 12, (0.0, 4095.0)):
        rows = data.load(data.DataSource("folder", str(folder), value_range=given), split="all")
        np.testing.assert_array_equal(np.asarray(rows[0]["image"])[..., 0], expected(GREY // 16, 0, 4095))
    with pytest.raises(DataError, match="was exported with value_range 12, now it is 14"):
        data.load(data.DataSource("folder", str(folder), value_range=14), split="all")


def test_sixteen_bit_colours_of_little_range_are_named(own):
    import cv2

    colours = np.random.default_rng(0).integers(0, 4096, (24, 40, 3)).astype(np.uint16)
    cv2.imwrite(str(own / "images" / "1.png"), colours)
    (own / "images" / "1.tif").unlink()
    found = data.check(data.load("folder", own, "all")).unusual
    assert any("1.png: 16-bit colours that use" in x and "of 65535: nearly black" in x for x in found)
