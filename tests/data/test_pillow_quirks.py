"""Masks give the ids that their files hold; TIFFs of more bands or pages than are read are refused."""

import io
import struct
import zlib

import cv2
import numpy as np
import PIL
import pytest
from PIL import Image

from modeling_ocrnet import data
from modeling_ocrnet.data.class_proposal import suggest_classes_json
from modeling_ocrnet.data.decoding import DataError, Decode, read_image, read_instances, read_mask
from modeling_ocrnet.data.image_headers import open_image
from modeling_ocrnet.data.labels import IGNORE, Label, LabelSet
from modeling_ocrnet.data.numpy_rows import decode_row

_NONE = Label("none", 255, IGNORE, (0, 0, 0))
LABELS = LabelSet((*(Label(f"class {i}", i, i, (i, i, i)) for i in range(255)), _NONE))
PILLOW = int(PIL.__version__.partition(".")[0])
WIDTH = 19  # no multiple of what a byte holds


def ids(top: int) -> np.ndarray:
    """(height, 19), every number up to `top`."""
    rows = -(-(top + 1) // WIDTH)
    return (np.arange(rows * WIDTH) % (top + 1)).reshape(rows, WIDTH)


def packed(values: np.ndarray, bits: int, reverse: bool = False) -> bytes:
    """Rows of unsigned numbers, each row beginning with a byte."""
    planes = (values[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    order = "little" if reverse else "big"
    return np.packbits(planes.reshape(len(values), -1).astype(np.uint8), axis=1, bitorder=order).tobytes()


def png(values: np.ndarray, bits: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = packed(values, bits)
    step = len(rows) // len(values)
    lines = b"".join(b"\0" + rows[i : i + step] for i in range(0, len(rows), step))
    header = struct.pack(">IIBBBBB", WIDTH, len(values), bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def tiff(*pages: tuple[dict[int, tuple], bytes], order: str = "<") -> bytes:
    """Uncompressed pages: tags beside those of the strip, and the strip; or deflated ones, by their tag 259."""
    out = (b"II*\0" if order == "<" else b"MM\0*") + bytes(4)
    link = 4
    for tags, strip in pages:
        strip = zlib.compress(strip) if tags.get(259) == (8,) else strip
        at = len(out)
        out += strip + bytes(len(strip) % 2)
        tags = {259: (1,), 277: (1,), 284: (1,), **tags, 273: (at,), 278: tags[257], 279: (len(strip),)}
        entries, extra, directory = b"", b"", len(out)
        after = directory + 2 + 12 * len(tags) + 4
        for tag, values in sorted(tags.items()):
            kind, letter = (4, "I") if tag in (273, 279) else (3, "H")
            content = struct.pack(order + letter * len(values), *values)
            if len(content) > 4:
                entries += struct.pack(order + "HHII", tag, kind, len(values), after + len(extra))
                extra += content
            else:
                entries += struct.pack(order + "HHI", tag, kind, len(values)) + content.ljust(4, b"\0")
        out = out[:link] + struct.pack(order + "I", directory) + out[link + 4 :]
        out += struct.pack(order + "H", len(tags)) + entries
        link = len(out)
        out += bytes(4) + extra + bytes(len(extra) % 2)
    return out


def grey(values: np.ndarray, bits: int, order: str = "<", **tags) -> bytes:
    given = {int(key[1:]): value for key, value in tags.items()}
    reverse = given.get(266) == (2,)
    strip = values.astype(f"{order}u2").tobytes() if bits == 16 else packed(values, bits, reverse)
    size = {256: (values.shape[1],), 257: (values.shape[0],), 258: (bits,), 262: (1,)}
    return tiff(({**size, **given}, strip), order=order)


def pgm(values: np.ndarray, top: int, plain: bool = False) -> bytes:
    header = b"P%d\n# a mask\n%d %d\n%d\n" % (2 if plain else 5, *values.shape[::-1], top)
    if plain:
        return header + " ".join(map(str, values.ravel().tolist())).encode()
    return header + values.astype(">u2" if top > 255 else np.uint8).tobytes()


def read(content: bytes, labels: LabelSet = LABELS) -> np.ndarray:
    """The mask's train ids, the same on every way that masks are read."""
    source = {"path": None, "bytes": content}
    found = np.asarray(read_mask({**source, "path": "x"}, labels)).astype(int)
    picture = io.BytesIO()
    Image.new("RGB", found.shape[::-1]).save(picture, "PNG")
    row = {"name": "x", "image": {"path": None, "bytes": picture.getvalue()}, "label": source}
    np.testing.assert_array_equal(decode_row(row, Decode(labels))[1], found)
    np.testing.assert_array_equal(read_instances(source), found)
    listed = [x.split()[1] for x in suggest_classes_json([source]).split("\n\n")[0].splitlines()]
    assert listed == [f"{x}:" for x in np.unique(found)]
    return found


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_png_of_few_bits(bits):
    """Against the ids that were packed by hand, and OpenCV's reading, which stretches them."""
    values = ids(2**bits - 1)
    content = png(values, bits)
    np.testing.assert_array_equal(read(content), values)
    np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(content, np.uint8), -1) // (255 // (2**bits - 1)), values)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("compression", "fill"), [(1, 1), (1, 2), (8, 1)])
@pytest.mark.parametrize(
    ("bits", "photometric"), [(bits, photometric) for bits in (1, 2, 4, 8) for photometric in (0, 1)]
)
def test_tiff_of_few_bits(bits, photometric, compression, fill, order):
    values = ids(2**bits - 1)
    content = grey(values, bits, order, t259=(compression,), t262=(photometric,), t266=(fill,))
    if (bits, photometric, fill) == (8, 0, 2):
        with pytest.raises(DataError, match="unknown raw mode"):  # Pillow has none
            read(content)
    else:
        np.testing.assert_array_equal(read(content), values)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [1, 8])
def test_tiff_of_16_bits(order, compression):
    labels = LabelSet((Label("a", 700, 0, (0, 0, 0)), Label("b", 3, 1, (0, 0, 0)), Label("c", 0x0201, 2, (0, 0, 0))))
    values = np.array([[700, 3, 0x0201], [3, 3, 700]])
    found = read_mask({"path": "x", "bytes": grey(values, 16, order, t259=(compression,))}, labels)
    np.testing.assert_array_equal(np.asarray(found), [[0, 1, 2], [1, 1, 0]])


def test_white_is_zero_of_16_bits():
    values = ids(250)
    np.testing.assert_array_equal(read(grey(values, 16, t262=(0,))), values)


def test_tiffs_of_other_programs():
    values = ids(255).astype(np.uint8)
    np.testing.assert_array_equal(read(cv2.imencode(".tif", values)[1].tobytes()), values)
    for options in ({}, {"compression": "tiff_lzw"}):
        out = io.BytesIO()
        Image.fromarray(values).save(out, "TIFF", **options)
        np.testing.assert_array_equal(read(out.getvalue()), values)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("top", range(1, 256))
def test_pgm_of_every_maximum(top, plain):
    values = ids(top)
    np.testing.assert_array_equal(
        np.asarray(read_mask({"path": "x", "bytes": pgm(values, top, plain)}, LABELS)), values
    )


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("top", [256, 257, 1000, 4095, 32767, 65534, 65535])
def test_pgm_of_16_bits(top, plain):
    values = ids(255)
    np.testing.assert_array_equal(read(pgm(values, top, plain)), values)
    values = ids(top)
    np.testing.assert_array_equal(read_instances({"path": "x", "bytes": pgm(values, top, plain)}), values)


def test_a_pgm_above_its_own_maximum_keeps_its_ids():
    """19 classes and 255: cut off at 18, what is ignored would be the last class."""
    values = np.array([[0, 18, 255]])
    np.testing.assert_array_equal(read(pgm(values, 18)), values)


def test_netpbms_black_is_0_as_for_every_program():
    values = ids(1)
    size = b"%d %d\n" % values.shape[::-1]
    plain = b"P1\n" + size + " ".join(map(str, (1 - values).ravel().tolist())).encode()
    for content in (b"P4\n" + size + packed(1 - values, 1), plain):
        np.testing.assert_array_equal(read(content), values)
        np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(content, np.uint8), -1) // 255, values)


def test_pictures_stay_as_a_person_sees_them():
    """Only masks are numbers."""
    values = ids(3)
    for content in (png(values, 2), grey(values, 2), pgm(values, 3)):
        found = np.asarray(read_image({"path": "x", "bytes": content}))
        np.testing.assert_array_equal(found[..., 0], values * 85)


COLOURS = {256: (4,), 257: (2,), 262: (2,)}
PIXELS = np.arange(4 * 2 * 6, dtype=np.uint8).reshape(2, 4, 6)


def colours(bands: int, bits: int = 8, **tags) -> tuple[dict, bytes]:
    given = {int(key[1:]): value for key, value in tags.items()}
    content = PIXELS[..., :bands].astype("<u2" if bits == 16 else np.uint8).tobytes()
    return {**COLOURS, 258: (bits,) * bands, 277: (bands,), **given}, content


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(
    ("bands", "tags", "used"),
    [
        (4, {"t338": (0,)}, "R, G, B"),
        (4, {}, "R, G, B"),
        (5, {"t338": (0, 0)}, "R, G, B"),
        (6, {"t338": (0, 0, 0)}, "R, G, B"),
        (5, {"t338": (2, 0)}, "R, G, B, A"),
        (2, {"t262": (1,), "t338": (0,)}, "L"),
    ],
)
def test_bands_that_would_be_left_out_are_named(bands, tags, used, bits, tmp_path):
    (tmp_path / "x.tif").write_bytes(tiff(colours(bands, bits, **tags)))
    for read in (read_image, open_image):
        with pytest.raises(DataError) as refused:
            read({"path": str(tmp_path / "x.tif"), "bytes": None})
        # Pillow doesn't open the others
        if (bits == 8 or bands == 4) and (bands > 2 or PILLOW >= 13):
            assert str(refused.value).startswith(f"{tmp_path}/x.tif: holds {bands} bands, of which only {used} would")
        assert "\n" not in str(refused.value)


@pytest.mark.skipif(PILLOW < 13, reason="Pillow before 13 can't read TIFFs of two bands")
def test_bands_that_are_all_read():
    found = np.asarray(read_image({"path": "x", "bytes": tiff(colours(3))}))
    np.testing.assert_array_equal(found, PIXELS[..., :3])
    for alpha in (1, 2):
        assert read_image({"path": "x", "bytes": tiff(colours(4, t338=(alpha,)))}).size == (4, 2)
    assert read_image({"path": "x", "bytes": tiff(colours(4, t262=(5,)))}).size == (4, 2)  # CMYK
    for mode in ("RGB", "RGBA", "LA", "L", "CMYK", "P", "1", "YCbCr", "I;16"):
        out = io.BytesIO()
        Image.new(mode, (4, 2)).save(out, "TIFF")
        assert read_image({"path": "x", "bytes": out.getvalue()}).size == (4, 2)


PAGE = ({256: (4,), 257: (2,), 258: (8,), 262: (1,)}, bytes(range(8)))


def page(**tags) -> tuple[dict, bytes]:
    return {**PAGE[0], **{int(key[1:]): value for key, value in tags.items()}}, PAGE[1]


@pytest.mark.parametrize("later", [page(), page(t254=(2,)), page(t258=(7,))], ids=["plain", "numbered", "unreadable"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_pages_that_would_be_left_out_are_named(later, order):
    source = {"path": "x.tif", "bytes": tiff(PAGE, page(t254=(1,), t256=(2,), t257=(1,)), later, order=order)}
    for read in (read_image, read_instances, lambda x: read_mask(x, LABELS)):
        with pytest.raises(DataError, match=r"^x\.tif: holds several pages, .* page 3 is as large: [^\n]*$"):
            read(source)


@pytest.mark.parametrize(
    "later",
    [page(t254=(1,), t256=(2,), t257=(1,)), page(t254=(1,)), page(t254=(4,), t258=(1,), t262=(4,)), page(t256=(2,))],
    ids=["overview", "copy", "transparency", "smaller"],
)
def test_overviews_and_masks_of_transparency_are_no_pages(later):
    content = tiff(PAGE, later, later)
    np.testing.assert_array_equal(read(content), np.arange(8).reshape(2, 4))
    found = np.asarray(read_image({"path": "x", "bytes": content}))
    np.testing.assert_array_equal(found[..., 0], np.arange(8).reshape(2, 4))


def test_a_dataset_with_such_a_file_is_refused_before_work(tmp_path):
    for folder in ("images/train", "masks/train"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "classes.json").write_text('["a", "b"]')
    (tmp_path / "images/train/x.tif").write_bytes(tiff(colours(5, t338=(0, 0))))
    (tmp_path / "masks/train/x.png").write_bytes(png(np.zeros((2, WIDTH), int), 8))
    dataset = data.load(data.DataSource("folder", str(tmp_path)), split="train")
    with pytest.raises(DataError, match=r"x\.tif: holds 5 bands"):
        data.check(dataset)
