"""Frames for training: the very pixels of Pillow, whatever the file; and checks that are remembered, never wrongly."""

import io
import zlib

import numpy as np
import pytest
from datasets import Dataset
from PIL import Image, PngImagePlugin

from benchmarks.worker_memory import worker_memory
from modeling_ocrnet import data
from modeling_ocrnet.data.decoding import Decode
from modeling_ocrnet.data.numpy_rows import NumpyRows
from modeling_ocrnet.data.png import decode_png

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)


def png(image: Image.Image, **options) -> bytes:
    content = io.BytesIO()
    image.save(content, "PNG", **options)
    return content.getvalue()


def with_chunk(content: bytes, kind: bytes, value: bytes) -> bytes:
    """The file with one more chunk after its header."""
    chunk = len(value).to_bytes(4, "big") + kind + value
    return content[:33] + chunk + zlib.crc32(kind + value).to_bytes(4, "big") + content[33:]


RGB, GREY = Image.fromarray(PIXELS), Image.fromarray(PIXELS[..., 0])
TEXT = PngImagePlugin.PngInfo()
TEXT.add_text("Comment", "anything")
ROTATED = Image.Exif()
ROTATED[0x0112] = 6


@pytest.fixture(params=["kornia", "opencv"])
def decoder(request, monkeypatch):
    """Both libraries that may decode."""
    if request.param == "opencv":
        monkeypatch.setattr("modeling_ocrnet.data.png.decode_image_png_u8", None)
    else:
        pytest.importorskip("kornia_rs")


@pytest.mark.usefixtures("decoder")
@pytest.mark.parametrize(
    "content",
    [png(RGB), with_chunk(png(RGB), b"gAMA", (45455).to_bytes(4, "big")), with_chunk(png(RGB), b"sRGB", b"\0")],
    ids=["plain", "gamma", "srgb"],
)
def test_plain_files_are_decoded(content):
    np.testing.assert_array_equal(decode_png(content), PIXELS)


@pytest.mark.usefixtures("decoder")
def test_grey_files_are_decoded():
    np.testing.assert_array_equal(decode_png(png(GREY)), PIXELS[..., 0])


@pytest.mark.parametrize(
    "content",
    [
        png(RGB.convert("RGBA")),
        png(RGB.convert("P")),
        png(RGB, transparency=(1, 2, 3)),
        png(RGB, exif=ROTATED),
        png(RGB, pnginfo=TEXT),
        png(Image.fromarray(PIXELS[..., 0].astype(np.uint16))),
        png(GREY.convert("1")),
        png(RGB)[:-20],
        b"GIF89a",
    ],
    ids=["alpha", "palette", "transparent", "turned", "text", "16 bit", "1 bit", "cut", "another"],
)
def test_all_others_are_left_to_pillow(content):
    assert decode_png(content) is None


def test_frames_are_the_rows(scenes):
    """Against the images that Pillow decodes."""
    rows = data.load("street_scenes", scenes, "train")
    for index, row in enumerate(rows):
        image, label, name = NumpyRows(rows)[index]
        assert name == row["name"]
        np.testing.assert_array_equal(image, np.asarray(row["image"]))
        np.testing.assert_array_equal(label, np.asarray(row["label"]))


@pytest.mark.parametrize("mode", ["RGBA", "P", "L", "1"])
def test_so_are_those_that_pillow_has_to_convert(frames, mode):
    RGB.convert(mode).save(frames / "train" / "0.png", exif=ROTATED)
    Image.new("L", RGB.size[::-1], 2).save(frames / "trainannot" / "0.png")
    rows = data.load("camvid", frames, "train")
    found, label, _ = NumpyRows(rows)[0]
    assert found.shape == (30, 40, 3)  # turned
    np.testing.assert_array_equal(found, np.asarray(rows[0]["image"]))
    np.testing.assert_array_equal(label, np.asarray(rows[0]["label"]))


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_a_mask_that_wasnt_turned_with_its_image(suffix, tmp_path):
    """The files' sizes are equal, but EXIF lays the image on its side: the labels would be of other places."""
    for folder in ("images/train", "masks/train"):
        (tmp_path / folder).mkdir(parents=True)
    for name, exif in (("a", None), ("b", ROTATED)):
        RGB.save(tmp_path / "images" / "train" / f"{name}.{suffix}", **({} if exif is None else {"exif": exif}))
        Image.new("L", RGB.size, 1).save(tmp_path / "masks" / "train" / f"{name}.png")
    (tmp_path / "classes.json").write_text('["left", "right"]')
    rows = data.load("folder", tmp_path, "train")
    message = r"masks/train/b\.png: 30x40, but its image is 40x30: turn it as EXIF turns the image"
    with pytest.raises(data.DataError, match=f"1 of 2 pairs have a problem:\n  .*{message}"):
        data.check(rows, masks=1)  # by the headers: of the rows only `a` is decoded
    for read in (lambda: rows[1], lambda: NumpyRows(rows)[1]):
        with pytest.raises(data.DataError, match=message):
            read()


def test_training_needs_a_mask_for_every_image(frames):
    rows = data.load("camvid", frames, "train")
    bare = rows.with_format(None).to_list()
    bare[2]["label"] = None
    partly = Dataset.from_list(bare, features=rows.features).with_transform(Decode(data.label_set("camvid")))
    data.check(partly)
    with pytest.raises(data.DataError, match="1 of 6 images have no mask, e.g. 2"):
        data.check(partly, labelled=True)
    with pytest.raises(data.DataError, match="2: has no mask"):
        NumpyRows(partly)[2]


@pytest.mark.usefixtures("decoder")
def test_damage_is_named(frames):
    path = frames / "train" / "0.png"
    content = bytearray(path.read_bytes())
    content[1000:1400] = bytes(400)
    path.write_bytes(content)
    with pytest.raises(data.DataError, match="0.png: a damaged image"):
        NumpyRows(data.load("camvid", frames, "train"))[0]


@pytest.fixture
def frames(tmp_path):
    for i in range(6):
        image, mask = tmp_path / "train" / f"{i}.png", tmp_path / "trainannot" / f"{i}.png"
        for path in (image, mask):
            path.parent.mkdir(exist_ok=True)
        RGB.save(image)
        Image.new("L", RGB.size, i).save(mask)
    return tmp_path


def test_what_passed_is_not_opened_again(frames, monkeypatch):
    def forbidden(*_):
        raise AssertionError("opened again")

    rows = data.load("camvid", frames, "train")
    data.check(rows)
    with monkeypatch.context() as patch:
        patch.setattr("modeling_ocrnet.data.pair_checks.open_image", forbidden)
        data.check(data.load("camvid", frames, "train"))
    # another file of the same name, at another time, of the wrong size
    Image.new("L", (8, 8), 1).save(frames / "trainannot" / "3.png")
    with pytest.raises(data.DataError, match="3.png: 8x8, but its image is 30x40"):
        data.check(data.load("camvid", frames, "train"))
    (frames / "trainannot" / "3.png").unlink()
    with pytest.raises(data.DataError, match="3.png: there is no such file"):
        data.check(data.load("camvid", frames, "train"))


def test_what_failed_is_not_remembered(frames):
    Image.new("L", RGB.size, 77).save(frames / "trainannot" / "2.png")
    for _ in range(2):
        with pytest.raises(data.DataError, match=r"2.png: holds the ids \[77\]"):
            data.check(data.load("camvid", frames, "train"))


def test_a_worker_s_memory_does_not_grow_with_the_dataset():
    """What a forked worker owns beside its parent: 8 bytes a row for an epoch's order, and nothing else."""
    small, large = worker_memory((1_000, 100_000), reads=50).values()
    assert large - small < 8
