"""Predictor: every kind of image, several threads, precision by the machine, compiled networks from the cache."""

import io
import logging
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import reference
from helpers.skipping import skip_if
from helpers.tiny import tiny_config
from PIL import Image
from torch import nn
from torch.export import Dim

from modeling_ocrnet import OCRNetForSemanticSegmentation, OCRNetImageProcessor
from modeling_ocrnet.common.compat import program_problem
from modeling_ocrnet.inference import Predictor
from modeling_ocrnet.inference.engines import compiled, openvino_runtime, precision, torch_program
from modeling_ocrnet.inference.engines import engine as engines
from modeling_ocrnet.inference.images import as_image
from modeling_ocrnet.inference.segmentation import InferenceOptions, segment


def picture(seed=0, width=101, height=65):
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    reference.mmseg_model().save_pretrained(folder)
    OCRNetImageProcessor().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def predictor(checkpoint):
    return Predictor(checkpoint, precision="fp32")


def same(one, other):
    return one.shape == other.shape and (one == other).mean() > 0.999


def test_every_kind_of_image_gets_the_label_map_of_segment(predictor, tmp_path):
    image = picture()
    image.save(tmp_path / "image.png")
    (expected,) = segment(reference.mmseg_model(), OCRNetImageProcessor(), [image])
    rgba = np.dstack([np.asarray(image), np.full((65, 101), 255, np.uint8)])
    content, values = (tmp_path / "image.png").read_bytes(), torch.from_numpy(np.asarray(image).copy())
    written = io.BytesIO()
    image.save(written, "TIFF")  # and not rewound
    with (tmp_path / "image.png").open("rb") as file, zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "image.png", "image.png")
        paths = [tmp_path / "image.png", str(tmp_path / "image.png")]
        encoded = [content, bytearray(content), memoryview(content), io.BytesIO(content), written, file]
        arrays = [np.asarray(image), rgba, values, values.permute(2, 0, 1)]
        for kind in (image, *paths, *encoded, *arrays):
            label_map = predictor(kind)
            assert label_map.dtype == np.uint8
            assert same(label_map, expected), type(kind)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive, archive.open("image.png") as packed:
        assert same(predictor(packed), expected)
    assert all(same(x, expected) for x in predictor((image, content)))
    assert predictor([]) == predictor(()) == []


def test_a_tensor_means_what_it_means_to_the_processor(predictor):
    """Channels first, also if both ends are three; grey values are those of an array."""
    processor = OCRNetImageProcessor()
    noise = torch.randint(0, 256, (3, 5, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for tensor in (noise, noise.permute(1, 2, 0), noise[:, :, :3]):
        given, converted = (processor(x, return_tensors="pt")["pixel_values"] for x in (tensor, as_image(tensor)))
        torch.testing.assert_close(given, converted)
    np.testing.assert_array_equal(as_image(noise[0]), np.dstack([noise[0].numpy()] * 3))
    wide = torch.tensor([[0, 65535], [257, 32896]], dtype=torch.uint16)
    assert np.asarray(as_image(wide))[..., 0].tolist() == [[0, 255], [1, 128]]
    floats = torch.tensor([[0, 1.0], [0.5, 0.2]], dtype=torch.bfloat16, requires_grad=True)
    assert np.asarray(as_image(floats, [0, 1]))[..., 0].tolist() == [[0, 255], [128, 51]]


SECRET = "don't print me"
NOT_IMAGES = {
    "text": (SECRET * 400, "a path is given as str of length 5600"),
    "no path": ("", "a path is given as str of length 0"),
    "bytes": (SECRET.encode() * 400, "the bytes given: not a readable image"),
    "no bytes": (b"", "the bytes given: not a readable image"),
    "empty file": (io.BytesIO(), "the BytesIO given: not a readable image"),
    "text file": (
        io.StringIO(SECRET),
        r"the StringIO given: read\(\) gives str, expected bytes: open it in binary mode",
    ),
    "number": (7, "an image is given as int: expected a path, an encoded image"),
    "none": (None, "an image is given as NoneType"),
    "numbers": ((1, 2), "an image is given as int"),
    "dict": ({SECRET: SECRET}, "an image is given as dict"),
    "generator": ((x for x in "ab"), "an image is given as generator"),
    "list in a list": ([[SECRET]], "an image is given as list inside a list"),
    "empty array": (np.zeros((0, 5, 3), np.uint8), r"an array of uint8, \(0, 5, 3\)"),
    "objects": (np.array([SECRET, None], object), r"an array of object, \(2,\)"),
    "no pixels": (Image.new("RGB", (0, 5)), "a PIL image of 0x5: it has no pixels"),
    "empty tensor": (torch.zeros(0), r"a tensor of torch.float32, \(0,\): expected \(3, height, width\)"),
    "batch": (torch.zeros(2, 3, 4, 5, dtype=torch.uint8), r"\(2, 3, 4, 5\): .*give a batch as a list, list\(tensor\)"),
    "other channels": (torch.zeros(5, 40, 50, dtype=torch.uint8), r"a tensor of torch.uint8, \(5, 40, 50\)"),
    "sparse": (
        torch.zeros(3, 4, 5, dtype=torch.uint8).to_sparse(),
        r"torch.uint8, \(3, 4, 5\), is sparse or quantized",
    ),
    "floats": (torch.full((3, 4, 5), 0.25), r"a tensor of torch.float32, \(3, 4, 5\): .*value_range=\[0, 1\]"),
}


@pytest.mark.parametrize("kind", NOT_IMAGES)
def test_what_is_no_image_is_named_in_one_line(kind, predictor):
    """With its type and its size, never with its contents."""
    given, message = NOT_IMAGES[kind]
    with pytest.raises(ValueError, match=message) as refused:
        predictor(given)
    said = str(refused.value)
    assert SECRET not in said
    assert "\n" not in said
    assert len(said) < 200


def test_files_that_give_no_bytes_are_named(predictor, tmp_path):
    picture().save(tmp_path / "a.png")
    closed = (tmp_path / "a.png").open("rb")
    closed.close()
    with pytest.raises(ValueError, match=r"a\.png: can't be read \(.*closed file.*\): open it in binary mode"):
        predictor(closed)
    with (tmp_path / "a.png").open() as text, pytest.raises(ValueError, match=r"a\.png: .*binary mode") as refused:
        predictor(text)
    assert len(str(refused.value)) < 300


@pytest.mark.slow
def test_a_list_and_options(checkpoint):
    """Against `segment` on the same network."""
    options = InferenceOptions(window=(64, 64), scales=[1.0, 0.75], flip=True, batch_size=3)
    images = [picture(0), picture(1), picture(2, 60, 80), picture(3)]
    expected = segment(reference.mmseg_model(), OCRNetImageProcessor(), images, options)
    found = Predictor(checkpoint, precision="fp32", options=options)(images)
    assert all(same(x, y) for x, y in zip(found, expected, strict=True))


def test_threads_get_what_one_gets(predictor):
    images = [picture(i) for i in range(12)]
    alone = predictor(images)
    with ThreadPoolExecutor(4) as pool:
        for one, other in zip(alone, pool.map(predictor, images), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("array", [np.zeros((4, 5, 3)), np.zeros((3, 40, 50), np.uint8), np.zeros(7, np.uint8)])
def test_arrays_that_are_no_images_are_refused(predictor, array):
    with pytest.raises(ValueError, match=r"an array of .*expected uint8 or uint16, \(height, width, 3\)"):
        predictor(array)


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx512_f": True, "avx512_bf16": False}, "fp32"),  # oneDNN would emulate it there
        ({"avx512_f": True, "avx512_bf16": True}, "bf16"),
        ({"neon": True, "bf16": True}, "bf16"),
        (None, "fp32"),
    ],
)
def test_precision_goes_by_the_cpus_instructions(capabilities, expected, monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    if capabilities is None:  # a torch that can't tell
        for name in ("get_capabilities", "_is_avx512_bf16_supported", "_is_amx_tile_supported"):
            monkeypatch.delattr(torch.cpu, name, raising=False)
    else:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert precision.fast_precision(torch.device("cpu")) == expected


@pytest.fixture
def counted(monkeypatch):
    """Packages that are programs, as compiling an OCRNet takes minutes; the paths that were compiled to."""
    skip_if(program_problem())
    paths = []

    def compile_package(program, path):
        paths.append(path)
        torch.export.save(program, path)

    monkeypatch.setattr(compiled, "compile_package", compile_package)
    monkeypatch.setattr(compiled, "package", torch_program.program)
    monkeypatch.setattr(compiled, "compiler_problem", lambda: None)
    monkeypatch.setattr(compiled, "compiler_name", lambda: "aotinductor")
    return paths


@pytest.mark.slow
def test_what_was_compiled_once_comes_from_the_cache(checkpoint, counted, monkeypatch):
    plain = Predictor(checkpoint, precision="fp32")(picture())
    warm = Predictor(checkpoint, precision="fp32").warmup((65, 101))
    assert isinstance(warm.model, engines.Engine)
    assert same(warm(picture()), plain)
    # another process, without a compiler
    monkeypatch.setattr(compiled, "compiler_problem", lambda: "there is no C++ compiler")
    again = Predictor(checkpoint, engine="compile", precision="fp32")
    assert same(again(picture()), plain)
    assert len(counted) == 1
    # another network isn't mistaken for it
    other = Predictor(checkpoint, precision="fp32").model
    assert compiled._key(other, "aotinductor") == counted[0].parent.name
    assert compiled._key(other, "another compiler") != counted[0].parent.name
    other.ocr_head.classifier.bias += 1
    assert compiled._key(other, "aotinductor") != counted[0].parent.name


@pytest.mark.slow
def test_openvino_is_warm_for_any_size(checkpoint, monkeypatch):
    """Converted once; the first size and one that comes again have networks of their own, others share one."""
    pytest.importorskip("openvino")
    skip_if(program_problem())
    plain = Predictor(checkpoint, precision="fp32")
    warm = Predictor(checkpoint, precision="fp32").warmup((65, 101))
    network = warm.model.run
    for seed, (width, height) in enumerate([(101, 65), (96, 64), (101, 65), (47, 33), (96, 64)]):
        image = picture(seed, width, height)
        assert same(warm(image), plain(image)), (width, height)
    assert list(network.of_size) == [(1, 3, 65, 101), (1, 3, 64, 96)]
    assert network.of_any_size is not None
    monkeypatch.setattr(compiled, "_convert", lambda *_: pytest.fail("it was converted before"))
    assert same(Predictor(checkpoint, engine="compile", precision="fp32")(picture()), plain(picture()))
    # sizes are forgotten one by one
    monkeypatch.setattr(openvino_runtime, "KEPT_SIZES", 1)
    network(torch.zeros(1, 3, 33, 47))
    assert list(network.of_size) == [(1, 3, 33, 47)]


@pytest.mark.slow
def test_openvino_computes_in_bfloat16(checkpoint):
    pytest.importorskip("openvino")
    skip_if(program_problem())
    plain = Predictor(checkpoint, precision="fp32")
    warm = Predictor(checkpoint, precision="bf16").warmup((65, 101))
    assert warm.model.precision == "bf16"
    images = [picture(seed) for seed in range(4)]
    assert np.mean([(a == b).mean() for a, b in zip(warm(images), plain(images), strict=True)]) > 0.97


def test_without_a_compiler_it_goes_on(checkpoint, monkeypatch, caplog, tmp_path):
    monkeypatch.setattr(compiled, "program_problem", lambda: None)
    monkeypatch.setattr(compiled, "cached_assets_path", lambda *_, **__: tmp_path)
    monkeypatch.setattr(compiled, "compiler_name", lambda: "aotinductor")
    monkeypatch.setattr(compiled, "compiler_problem", lambda: "there is no C++ compiler: install g++")
    with caplog.at_level(logging.WARNING, "modeling_ocrnet"):
        predictor = Predictor(checkpoint, precision="fp32").warmup((64, 64))
    assert "there is no C++ compiler: install g++; continuing without compilation" in caplog.text
    assert predictor(picture()).shape == (65, 101)


@pytest.mark.parametrize("compiler", ["aotinductor", "openvino"])
def test_with_a_torch_that_is_too_old_it_goes_on(compiler, checkpoint, monkeypatch, caplog, tmp_path):
    monkeypatch.setattr(compiled, "cached_assets_path", lambda *_, **__: tmp_path)
    monkeypatch.setattr(compiled, "compiler_name", lambda: compiler)
    monkeypatch.setattr(torch.export, "export", lambda mod, args, kwargs=None: pytest.fail("it can't"))
    plain = Predictor(checkpoint, precision="fp32")
    with caplog.at_level(logging.WARNING, "modeling_ocrnet"):
        predictor = Predictor(checkpoint, engine="compile", precision="fp32")
    said = "exports programs of fixed sizes only: pip install 'torch>=2.9'; continuing without compilation"
    assert said in caplog.text
    assert same(predictor(picture()), plain(picture()))


def test_a_device_whose_torch_cannot_compile_goes_on(monkeypatch, caplog):
    model, asked = OCRNetForSemanticSegmentation(tiny_config()).to("meta"), []
    model.compile = lambda **options: asked.append(options)
    monkeypatch.setattr(compiled, "compile_problem", lambda: "torch is too old")
    with caplog.at_level(logging.WARNING, "modeling_ocrnet"):
        assert compiled.compiled(model) is model
    assert "torch is too old; continuing without compilation" in caplog.text
    assert asked == []
    monkeypatch.setattr(compiled, "compile_problem", lambda: None)
    assert compiled.compiled(model) is model
    assert asked == [{"dynamic": True}]


@pytest.mark.slow
def test_a_package_runs_what_was_compiled(tmp_path):
    """AOTInductor itself, on one layer and other sizes than it was shown."""
    if (problem := compiled.compiler_problem()) is not None:
        pytest.skip(problem)
    layer, sizes = nn.Conv2d(3, 4, 3), {0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
    with torch.no_grad():
        program = torch.export.export(layer, (torch.zeros(2, 3, 9, 11),), dynamic_shapes=(sizes,))
        compiled.compile_package(program, tmp_path / "layer.pt2")
        run, image = compiled.package(tmp_path / "layer.pt2"), torch.randn(1, 3, 20, 15)
        torch.testing.assert_close(run(image), layer(image))
    assert [x.name for x in Path(tmp_path).iterdir()] == ["layer.pt2"]
