"""Files that are damaged or hostile, each with the mechanism by which it would hurt a reader that trusts it."""

import io
import json
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save


@dataclass(frozen=True)
class Defect:
    """`content(canary)` gives the bytes; what runs in them would touch the file `canary`."""

    name: str
    mechanism: str
    content: Callable[[Path], bytes]

    def write(self, path: Path, canary: Path) -> Path:
        path.unlink(missing_ok=True)
        path.write_bytes(self.content(canary))
        return path


class Special(Defect):
    """What isn't a plain file: `content(path)` makes it."""

    def write(self, path: Path, canary: Path) -> Path:
        path.unlink(missing_ok=True)
        self.content(path)
        return path


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def touch(canary: Path) -> Call:
    return Call(os.system, f"touch {canary}")


def chunk(kind: bytes, data: bytes, crc: int | None = None) -> bytes:
    crc = zlib.crc32(kind + data) if crc is None else crc
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)


def png(width=16, height=12, pixels: bytes | None = None, extra=b"", crc=None, color=2) -> bytes:
    """A PNG written by hand, so that every part of it can lie."""
    if pixels is None:
        pixels = zlib.compress((b"\0" + bytes(range(3 * width) if color == 2 else width)) * height)
    head = struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, 0)
    chunks = chunk(b"IHDR", head, crc) + extra + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def picture(format="PNG", mode="RGB", size=(16, 12), **options) -> bytes:
    """Noise, so that nothing compresses; masks hold the ids 0 to 4."""
    depth = {"RGB": 3, "LA": 2, "RGBA": 4}.get(mode)
    shape = (*size[::-1], depth) if depth else size[::-1]
    top = 256 if depth else 5
    pixels = np.random.default_rng(0).integers(0, top, shape).astype(np.float32 if mode == "F" else np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format, **options)
    return file.getvalue()


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def tiff_of(width: int) -> bytes:
    entries = [(256, 4, width), (257, 4, width), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (279, 4, 2**31)]
    table = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + table + bytes(4)


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(touched) (w) file closefile\n"

IMAGES = [
    Defect("png_cut", "a download that broke off", lambda _: half(picture())),
    Defect("jpeg_cut", "the same: JPEG decoders fill the rest with grey", lambda _: half(picture("JPEG", quality=100))),
    Defect("tiff_cut", "the directory at the end of the file is gone", lambda _: half(picture("TIFF"))),
    Defect("webp_cut", "the container says more bytes than there are", lambda _: half(picture("WEBP", lossless=True))),
    Defect("bmp_cut", "pixels end before the header says so", lambda _: half(picture("BMP"))),
    Defect("png_bomb", "a header of 60000x60000 pixels, 10 GB when decoded", lambda _: png(60000, 60000, b"")),
    Defect("ppm_bomb", "three numbers claim a terabyte", lambda _: b"P6 600000 600000 255\n"),
    Defect("tiff_bomb", "a directory claims 2**30 pixels a side", lambda _: tiff_of(2**30)),
    Defect("text_bomb", "a PNG's comment unpacks a thousandfold", lambda _: png(extra=_packed(b"zTXt", b"a\0\0"))),
    Defect("profile_bomb", "a PNG's colour profile does", lambda _: png(extra=_packed(b"iCCP", b"a\0\0"))),
    Defect("no_pixels", "a header of 0x0", lambda _: png(0, 0)),
    Defect("no_rows", "a header of 16x0", lambda _: png(16, 0)),
    Defect("empty", "a file of no bytes, as full disks leave them", lambda _: b""),
    Defect("web_page", "the login page instead of the download", lambda _: b"<!DOCTYPE html><title>Log in</title>"),
    Defect("postscript", "a program for Ghostscript, called .png", lambda _: POSTSCRIPT),
    Defect("bad_exif", "an orientation tag in what isn't EXIF", lambda _: png(extra=chunk(b"eXIf", b"nonsense"))),
    Defect("bad_header", "a header whose checksum is wrong", lambda _: png(crc=1)),
    Defect("bad_filter", "rows of a filter that PNG doesn't have", lambda _: png(pixels=_rows(b"\x09", 12))),
    Defect("cut_stream", "a stream of pixels that breaks off", lambda _: png(pixels=half(_rows(b"\0", 12)))),
    Defect("no_stream", "pixels that aren't a zlib stream", lambda _: png(pixels=b"nonsense")),
    Special("pipe", "reading a pipe that nobody writes to never ends", os.mkfifo),
    Special("device", "reading /dev/zero never ends either", lambda path: path.symlink_to("/dev/zero")),
    Special("folder", "a folder called .png", lambda path: path.mkdir()),
    Special("circle", "a link to itself", lambda path: path.symlink_to(path.name)),
    Special("dangling", "a link to what isn't there", lambda path: path.symlink_to("nothing.png")),
]


def _packed(kind: bytes, head: bytes) -> bytes:
    return chunk(kind, head + zlib.compress(bytes(20_000_000)))


def _rows(kind: bytes, count: int) -> bytes:
    return zlib.compress((kind + bytes(range(48))) * count)


MASKS = [
    Defect("jpeg", "ids changed along every edge, under a .png name", lambda _: picture("JPEG")),
    Defect("colours", "a picture of the mask's colours", lambda _: picture()),
    Defect("floats", "32-bit floating point", lambda _: picture("TIFF", "F")),
    Defect("grey_alpha", "two channels", lambda _: picture("PNG", "LA")),
    Defect("unknown_ids", "ids that no class has", lambda _: png(color=0, pixels=_flat(77))),
    Defect("other_size", "fewer pixels than the image", lambda _: picture(mode="L", size=(15, 12))),
    Defect("cut", "a download that broke off", lambda _: half(picture(mode="L", size=(16, 12)))),
    Defect("bomb", "60000x60000 pixels in a header", lambda _: png(60000, 60000, b"", color=0)),
    Defect("negative_ids", "instance ids of 32 bits, some below 0", lambda _: _tiff(np.full((12, 16), -7, np.int32))),
]


def _flat(value: int) -> bytes:
    return zlib.compress((b"\0" + bytes([value]) * 16) * 12)


def _tiff(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "TIFF")
    return file.getvalue()


def mat(**content) -> bytes:
    from scipy.io import savemat

    file = io.BytesIO()
    savemat(file, content, do_compression=True)
    return file.getvalue()


def _mat_bomb() -> bytes:
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(2**20)) for _ in range(400)) + packer.flush()
    return mat(S=np.zeros((2, 2), np.uint8))[:128] + struct.pack("<II", 15, len(packed)) + packed


MATS = [
    Defect("cut", "a download that broke off", lambda _: half(mat(S=np.eye(64, dtype=np.uint8)))),
    Defect("empty", "no bytes", lambda _: b""),
    Defect("web_page", "not a .mat file", lambda _: b"<!DOCTYPE html>" + bytes(200)),
    Defect("bomb", "400 kB that unpack to 400 MB", lambda _: _mat_bomb()),
    Defect("text", "S is a text", lambda _: mat(S="rm -rf")),
    Defect("cells", "S is a cell array", lambda _: mat(S=np.array([[{"a": 1}]], dtype=object))),
    Defect("volume", "S has three dimensions", lambda _: mat(S=np.zeros((4, 4, 2), np.uint8))),
    Defect("fractions", "S isn't of whole numbers", lambda _: mat(S=np.full((12, 16), 0.5))),
    Defect("no_struct", "GTcls isn't a struct", lambda _: mat(GTcls=np.zeros((1, 1)))),
    Defect("other", "neither S nor GTcls", lambda _: mat(T=np.zeros((2, 2)))),
]

DEEP = b"[" * 20_000
RECIPES = [
    Defect(
        "object_tag",
        "a tag that calls os.system while the file is read",
        lambda canary: f'seed: !!python/object/apply:os.system ["touch {canary}"]'.encode(),
    ),
    Defect(
        "class_path",
        "jsonargparse builds what a class_path names",
        lambda c: f"data: {{class_path: subprocess.Popen, init_args: {{args: [touch, {c}]}}}}".encode(),
    ),
    Defect("laughs", "nine aliases of nine aliases of ...: gigabytes in 300 bytes", lambda _: _laughs()),
    Defect("circle", "an anchor inside itself", lambda _: b"model: &m {config: {a: *m}}"),
    Defect("twice", "a key twice, of which YAML silently takes the last", lambda _: b"seed: 1\nseed: 2\n"),
    Defect("twice_inside", "the same further in", lambda _: b"model: {config: {dropout: 0.1, dropout: 0.2}}"),
    Defect("list", "a list", lambda _: b"- 1\n- 2\n"),
    Defect("binary", "bytes that aren't text", lambda _: b"\x00\x01\xff\xfe"),
    Defect("unclosed", "a bracket that is never closed", lambda _: b"seed: [1, 2"),
    Defect("unhashable", "a list as a key", lambda _: b"? [1, 2]\n: 3\n"),
    Defect("deep", "more brackets than a parser's stack", lambda _: b"seed: " + DEEP),
    Defect("empty", "nothing", lambda _: b""),
]


def _laughs() -> bytes:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{x}: &{x} [{', '.join([f'*{chr(ord(x) - 1)}'] * 9)}]" for x in "bcdefghij"]
    return b"model:\n  config:\n    " + "\n    ".join(lines).encode()


def pickled(content) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def _enormous() -> torch.Tensor:
    return torch.zeros(1).as_strided((10**9, 10**9), (0, 0))


PICKLES = [
    Defect("system", "a call of os.system", lambda c: pickled({"a": touch(c)})),
    Defect("eval", "a call of eval", lambda c: pickled({"a": Call(eval, f"open({str(c)!r}, 'w')")})),
    Defect("plain_pickle", "the same in a bare pickle, without torch's zip", lambda c: pickle.dumps(touch(c))),
    Defect("cut", "a disk that filled up", lambda _: half(pickled({"a": torch.ones(99)}))),
    Defect("empty", "no bytes", lambda _: b""),
    Defect("web_page", "a login page", lambda _: b"<!DOCTYPE html>"),
    Defect("list", "a list where weights should be", lambda _: pickled([1, 2])),
    Defect("enormous", "strides of 0: one number that claims to be 10**18", lambda _: pickled({"a": _enormous()})),
    Defect(
        "meta", "a tensor of the device `meta`, without numbers", lambda _: pickled({"a": torch.ones(3, device="meta")})
    ),
    Defect("sparse", "indices that are only looked at later", lambda _: pickled({"a": torch.eye(3).to_sparse()})),
    Defect("not_a_zip", "a zip's end without its middle", lambda _: pickled({"a": torch.ones(9)})[-200:]),
]


def safetensors(header: dict | bytes, body: bytes = bytes(64), length: int | None = None) -> bytes:
    packed = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(packed) if length is None else length) + packed + body


def _entry(dtype="F32", shape=(2, 2), offsets=(0, 16)) -> dict:
    return {"a": {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}}


SAFETENSORS = [
    Defect("long_header", "a header of 2**60 bytes", lambda _: safetensors(_entry(), length=2**60)),
    Defect("outside", "data far behind the end of the file", lambda _: safetensors(_entry(offsets=(0, 10**12)))),
    Defect("shape", "a shape larger than its data", lambda _: safetensors(_entry(shape=(10**9, 10**9)))),
    Defect("negative", "a negative shape", lambda _: safetensors(_entry(shape=(-2, 2)))),
    Defect("overlap", "two tensors of the same bytes", lambda _: safetensors({**_entry(), "b": _entry()["a"]})),
    Defect("dtype", "a type that isn't there", lambda _: safetensors(_entry(dtype="F999"))),
    Defect("no_json", "a header that isn't JSON", lambda _: safetensors(b"{" * 40)),
    Defect("deep", "a header of brackets", lambda _: safetensors(DEEP)),
    Defect("cut", "a download that broke off", lambda _: half(save({"a": torch.ones(999)}))),
    Defect("empty", "no bytes", lambda _: b""),
    Defect("web_page", "a login page", lambda _: b"<!DOCTYPE html>"),
    Defect("nothing", "no tensor at all", lambda _: save({}, {"format": "pt"})),
]

# fields of a model's config.json, or all of the file
CONFIGS = [
    Defect("no_json", "half a file", lambda _: b'{"model_type": "ocr'),
    Defect("list", "JSON, but a list", lambda _: b"[1, 2]"),
    Defect("deep", "more brackets than a parser's stack", lambda _: DEEP),
    Defect("binary", "bytes that aren't text", lambda _: b"\xff\xfe\x00"),
    Defect("classes", "10**9 classes, a made-up name each", lambda _: b'{"num_labels": 1000000000, "id2label": null}'),
    Defect("no_classes", "none", lambda _: b'{"num_labels": 0, "id2label": null}'),
    Defect("channels", "terabytes of weights", lambda _: b'{"ocr_channels": 1000000}'),
    Defect("negative", "fewer than no channels", lambda _: b'{"ocr_channels": -1}'),
    Defect("text", "a word for a number", lambda _: b'{"ocr_channels": "many"}'),
    Defect("kernel", "a kernel of 100000x100000", lambda _: b'{"auxiliary_kernel_size": 100000}'),
    Defect("blocks", "10**9 blocks, built one by one", lambda _: _backbone(stage_blocks=[1, 1, 1, 10**9])),
    Defect("deeper", "a layer more than the weights have", lambda _: _backbone(stage_blocks=[1, 1, 1, 2])),
    Defect("backbone", "a backbone of no known type", lambda _: b'{"backbone_config": {"model_type": "nonsense"}}'),
    Defect("palette", "colours for other classes", lambda _: b'{"palette": [[0, 0, 0]]}'),
    Defect("ids", "label ids for other classes", lambda _: b'{"label_ids": [1]}'),
]


def _backbone(**fields) -> bytes:
    from helpers.tiny import TINY_BACKBONE

    return json.dumps({"backbone_config": {"model_type": "hrnet", **TINY_BACKBONE, **fields}}).encode()


def zipped(entries: dict[str, bytes], method=zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file.getvalue()


FRAME = "a_000000_000000"  # of the split that submissions are for
MASK = png(color=0, pixels=_flat(7))
ZIPS = [
    Defect("bomb", "an entry of 100 kB that unpacks to 100 MB", lambda _: zipped({f"{FRAME}.png": bytes(10**8)})),
    Defect("pixel_bomb", "a PNG of 60000x60000", lambda _: zipped({f"{FRAME}.png": png(60000, 60000, b"", color=0)})),
    Defect("climbing", "a name that leads out of the folder", lambda _: zipped({f"../../{FRAME}.png": MASK})),
    Defect("absolute", "a name from the root", lambda c: zipped({str(c): MASK, f"{FRAME}.png": MASK})),
    Defect("cut", "an upload that broke off", lambda _: half(zipped({f"{FRAME}.png": MASK}))),
    Defect(
        "bad_index", "a directory that points nowhere", lambda _: zipped({"x.png": MASK}).replace(b"PK\1\2", b"PK\7\7")
    ),
    Defect("encrypted", "an entry with a password", lambda _: _flagged(1)),
    Defect("strange_packing", "a compression that nobody has", lambda _: _method(77)),
    Defect(
        "damaged",
        "bytes inside an entry changed",
        lambda _: zipped({f"{FRAME}.png": MASK}, 0).replace(b"IDAT", b"IDAX"),
    ),
    Defect("no_image", "an entry that isn't an image", lambda _: zipped({f"{FRAME}.png": b"hello"})),
    Defect("colours", "a picture, not ids", lambda _: zipped({f"{FRAME}.png": picture()})),
    Defect("no_zip", "not a zip at all", lambda _: b"Rar!" + bytes(99)),
]


def _flagged(flags: int) -> bytes:
    content = bytearray(zipped({f"{FRAME}.png": MASK}))
    content[6] |= flags
    content[content.index(b"PK\1\2") + 8] |= flags
    return bytes(content)


def _method(method: int) -> bytes:
    content = bytearray(zipped({f"{FRAME}.png": MASK}))
    content[8] = content[content.index(b"PK\1\2") + 10] = method
    return bytes(content)
