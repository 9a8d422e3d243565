"""Images of every kind come out as a person sees them."""

import numpy as np
import pytest
from PIL import Image

from modeling_ocrnet.data.decoding import read_image

RAMP = np.tile(np.linspace(0, 255, 16).round().astype(np.uint8), (8, 1))  # (8, 16), dark to bright


def read(path):
    image = read_image({"path": str(path), "bytes": None})
    assert image.mode == "RGB"
    return np.asarray(image).astype(int)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_greys_keep_their_brightness(tmp_path, suffix):
    Image.fromarray(RAMP.astype(np.uint16) * 257).save(tmp_path / f"x.{suffix}")
    np.testing.assert_array_equal(read(tmp_path / f"x.{suffix}"), RAMP[..., None].repeat(3, 2))


@pytest.mark.parametrize("top", [1, 255])
def test_floats_keep_their_brightness(tmp_path, top):
    Image.fromarray((RAMP / 255 * top).astype(np.float32)).save(tmp_path / "x.tif")
    np.testing.assert_array_equal(read(tmp_path / "x.tif"), RAMP[..., None].repeat(3, 2))


@pytest.mark.parametrize("mode", ["L", "1", "P"])
def test_grey_black_and_white_and_palette_images(tmp_path, mode):
    image = Image.fromarray((RAMP > 127).astype(np.uint8) * 255).convert(mode)
    image.save(tmp_path / "x.png")
    np.testing.assert_array_equal(read(tmp_path / "x.png"), ((RAMP > 127) * 255)[..., None].repeat(3, 2))


def test_transparency_shows_white(tmp_path):
    """Not the colour that an editor left below it."""
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[..., 0], pixels[:2, :, 3] = 200, 255
    Image.fromarray(pixels).save(tmp_path / "x.png")
    image = read(tmp_path / "x.png")
    assert (image[:2] == (200, 0, 0)).all()
    assert (image[2:] == 255).all()
    Image.fromarray(pixels).convert("P").save(tmp_path / "p.png", transparency=0)
    assert read(tmp_path / "p.png").max() == 255


def test_print_colours(tmp_path):
    """Magenta and yellow ink is red."""
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "x.jpg", quality=100)
    red, green, blue = read(tmp_path / "x.jpg")[4, 4]
    assert red > 240
    assert green < 20
    assert blue < 20


def test_cameras_that_were_held_sideways(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees
    Image.fromarray(RAMP).save(tmp_path / "x.jpg", exif=exif, quality=100)
    image = read(tmp_path / "x.jpg")
    assert image.shape == (16, 8, 3)
    assert image[0].mean() < 20
    assert image[-1].mean() > 235
