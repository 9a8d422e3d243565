"""The image processor: both backends, label maps, and the way back."""

import inspect
import json
import struct
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import SegformerImageProcessor
from transformers.modeling_outputs import SemanticSegmenterOutput

from modeling_ocrnet import OCRNetImageProcessor, OCRNetImageProcessorPil
from modeling_ocrnet.data.transforms import normalize

BACKENDS = [OCRNetImageProcessor, OCRNetImageProcessorPil]
GREY_LEVEL = 1 / 255 / 0.224  # one of 256, in normalised units


@pytest.fixture
def image():
    return Image.effect_noise((70, 50), 60).convert("RGB").resize((140, 100))


@pytest.fixture
def label():
    ids = np.random.default_rng(0).integers(0, 5, (10, 14), dtype=np.uint8)
    ids[0, 0] = 255
    return Image.fromarray(ids).resize((140, 100), Image.Resampling.NEAREST)


@pytest.mark.parametrize("backend", BACKENDS)
def test_images_keep_their_size_and_are_normalised_as_in_training(backend, image, label):
    inputs = backend()(image, segmentation_maps=label, return_tensors="pt")
    np.testing.assert_allclose(inputs["pixel_values"][0], normalize(np.asarray(image)), atol=1e-4)
    assert inputs["labels"].dtype == torch.int64
    np.testing.assert_array_equal(inputs["labels"][0], np.asarray(label))


@pytest.mark.parametrize("size", [{"height": 60, "width": 90}, {"height": 150, "width": 200}])
def test_backends_agree_within_a_grey_level(image, label, size):
    ours, theirs = (
        backend(do_resize=True, size=size)(image, segmentation_maps=label, return_tensors="pt") for backend in BACKENDS
    )
    assert ours["pixel_values"].shape[-2:] == (size["height"], size["width"])
    torch.testing.assert_close(ours["pixel_values"], theirs["pixel_values"], rtol=0, atol=1.01 * GREY_LEVEL)
    assert torch.equal(ours["labels"], theirs["labels"])


@pytest.mark.parametrize("backend", BACKENDS)
def test_labels_can_be_reduced(backend, image):
    label = Image.fromarray(np.resize(np.array([0, 1, 2, 150, 255], np.uint8), (100, 140)))
    labels = backend()(image, segmentation_maps=label, do_reduce_labels=True, return_tensors="pt")["labels"]
    assert labels[0, 0, :5].tolist() == [255, 0, 1, 149, 255]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_batch_of_different_sizes_is_a_list(backend, image):
    pixel_values = backend()([image, image.crop((0, 0, 30, 20))])["pixel_values"]
    assert [tuple(x.shape) for x in pixel_values] == [(3, 100, 140), (3, 20, 30)]


@pytest.mark.parametrize("backend", BACKENDS)
def test_tensors_of_several_sizes_are_refused_in_one_line(backend, image):
    images = [image, image.crop((0, 0, 30, 20))]
    with pytest.raises(
        ValueError, match=r"^the images have 2 sizes, such as \(20, 30\) and \(100, 140\), .*do_pad=True"
    ):
        backend()(images, return_tensors="pt")
    assert backend()(images, do_pad=True, return_tensors="pt")["pixel_values"].shape == (2, 3, 100, 140)


class Derived(OCRNetImageProcessor):
    """As a user would derive one."""


def test_a_class_derived_from_the_processor_is_saved_as_itself(tmp_path):
    Derived.register_for_auto_class()
    Derived().save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert saved["auto_map"]["AutoImageProcessor"] == f"{Path(__file__).stem}.Derived"


@pytest.mark.parametrize("sizes", [None, [(14, 18), (5, 3)]])
def test_scores_on_request_as_segformers_processor_returns_them(sizes):
    outputs = SemanticSegmenterOutput(logits=torch.randn(2, 5, 7, 9))
    found = OCRNetImageProcessor().post_process_semantic_segmentation(outputs, sizes, return_segmentation_scores=True)
    theirs = SegformerImageProcessor()
    if "return_segmentation_scores" in inspect.signature(theirs.post_process_semantic_segmentation).parameters:
        expected = theirs.post_process_semantic_segmentation(outputs, sizes, return_segmentation_scores=True)
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a.segmentation_scores, b.segmentation_scores)
    maps = theirs.post_process_semantic_segmentation(outputs, sizes)
    alone = OCRNetImageProcessor().post_process_semantic_segmentation(outputs, sizes)
    for result, expected, label_map in zip(found, maps, alone, strict=True):
        assert torch.equal(result.segmentation, expected)
        assert torch.equal(label_map, expected)
        assert torch.equal(result.segmentation_scores.argmax(0), expected)


def test_label_maps_from_logits():
    logits = torch.randn(2, 5, 7, 9)
    outputs = SimpleNamespace(logits=logits)
    processor = OCRNetImageProcessor()
    own = processor.post_process_semantic_segmentation(outputs)
    assert torch.equal(torch.stack(own), logits.argmax(1))
    maps = processor.post_process_semantic_segmentation(outputs, target_sizes=[(28, 36), (7, 9)])
    assert [tuple(x.shape) for x in maps] == [(28, 36), (7, 9)]
    upsampled = torch.nn.functional.interpolate(logits[:1], size=(28, 36), mode="bilinear")
    assert torch.equal(maps[0], upsampled.argmax(1)[0])
    with pytest.raises(ValueError, match="1 target sizes for a batch of 2"):
        processor.post_process_semantic_segmentation(outputs, target_sizes=[(7, 9)])


def test_label_maps_follow_align_corners(tmp_path):
    """A processor that a converter saved with `align_corners=True` resizes the logits that way, also when reloaded."""
    logits = torch.randn(1, 5, 7, 9)
    OCRNetImageProcessor(align_corners=True).save_pretrained(tmp_path)
    processor = OCRNetImageProcessor.from_pretrained(tmp_path)
    (found,) = processor.post_process_semantic_segmentation(SimpleNamespace(logits=logits), target_sizes=[(28, 36)])
    upsampled = torch.nn.functional.interpolate(logits, size=(28, 36), mode="bilinear", align_corners=True)
    assert torch.equal(found, upsampled.argmax(1)[0])


@pytest.mark.parametrize("backend", BACKENDS)
def test_caffes_pixels(backend, image):
    """Not divided by 255, BGR, means taken off: what openseg's ResNets were trained on."""
    mean = [102.9801, 115.9465, 122.7717]
    processor = backend(do_rescale=False, do_flip_channel_order=True, image_mean=mean, image_std=[1.0, 1.0, 1.0])
    inputs = processor(image, return_tensors="pt")
    expected = np.asarray(image)[..., ::-1].astype(np.float32) - np.array(mean)
    assert inputs["pixel_values"].dtype == torch.float32
    np.testing.assert_allclose(inputs["pixel_values"][0], expected.transpose(2, 0, 1), atol=1e-4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_channels_can_be_flipped(backend, image, label, tmp_path):
    """OpenCV's BGR: as if the image had been read that way, with mean and deviation in BGR order."""
    mean, std = [0.1, 0.2, 0.3], [0.5, 0.6, 0.7]
    backend(do_flip_channel_order=True, image_mean=mean, image_std=std).save_pretrained(tmp_path)
    inputs = backend.from_pretrained(tmp_path)(image, segmentation_maps=label, return_tensors="pt")
    expected = (np.asarray(image)[..., ::-1] / 255 - mean) / std
    np.testing.assert_allclose(inputs["pixel_values"][0], expected.transpose(2, 0, 1), atol=1e-5)
    np.testing.assert_array_equal(inputs["labels"][0], np.asarray(label))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("ignore_index", [255, 65535])
@pytest.mark.parametrize(
    ("options", "box"),
    [
        ({"do_pad": True, "pad_size": {"height": 30, "width": 40}}, (0, 0)),
        ({"do_center_crop": True, "crop_size": {"height": 30, "width": 40}}, (5, 5)),
        ({"do_center_crop": True, "crop_size": {"height": 30, "width": 10}}, (5, None)),
    ],
)
def test_pixels_that_are_added_are_not_labelled(backend, ignore_index, options, box):
    """By padding and by a crop larger than the image: nothing but the ignore index, at every edge."""
    ids = np.random.default_rng(0).integers(0, 1000, (20, 30)).astype(np.uint16)
    image = np.zeros((20, 30, 3), np.uint8)
    processor = backend(ignore_index=ignore_index, **options)
    (labels,) = processor(image, segmentation_maps=Image.fromarray(ids), return_tensors="pt")["labels"].numpy()
    top, left = box
    if left is None:  # cropped across
        expected = np.full((30, 10), ignore_index)
        expected[top : top + 20] = ids[:, 10:20]
    else:
        expected = np.full((30, 40), ignore_index)
        expected[top : top + 20, left : left + 30] = ids
    np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_batch_is_padded_with_what_does_not_count(backend):
    """Without a size, to the largest image, as transformers suggests where images differ."""
    images = [np.zeros((20, 30, 3), np.uint8), np.zeros((10, 40, 3), np.uint8)]
    maps = [np.full((20, 30), 3, np.uint8), np.full((10, 40), 4, np.uint8)]
    inputs = backend(do_pad=True)(images, segmentation_maps=maps, return_tensors="pt")
    assert inputs["pixel_values"].shape == (2, 3, 20, 40)
    expected = np.full((2, 20, 40), 255)
    expected[0, :, :30], expected[1, :10] = 3, 4
    np.testing.assert_array_equal(inputs["labels"], expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_label_maps_of_16_bits_are_resized_and_reduced_exactly(backend):
    ids = np.random.default_rng(0).integers(0, 65536, (20, 30)).astype(np.uint16)
    ids[0, :4] = 0, 255, 300, 65535
    image = np.zeros((20, 30, 3), np.uint8)
    processor = backend(do_resize=True, size={"height": 40, "width": 60}, do_reduce_labels=True, ignore_index=65535)
    (labels,) = processor(image, segmentation_maps=ids)["labels"]
    expected = np.where((ids == 0) | (ids == 65535), 65535, ids.astype(int) - 1)
    np.testing.assert_array_equal(np.asarray(labels), expected.repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize("backend", BACKENDS)
def test_any_ignore_index_stays(backend):
    ids = np.arange(600).reshape(20, 30)
    ids[:2] = -100
    processor = backend(ignore_index=-100, do_pad=True, pad_size={"height": 25, "width": 30})
    (labels,) = processor(np.zeros((20, 30, 3), np.uint8), segmentation_maps=ids)["labels"]
    np.testing.assert_array_equal(labels[:20], ids)
    assert (np.asarray(labels[20:]) == -100).all()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("size", [(8, 8), (8, 12)])
def test_a_label_map_is_turned_as_its_image_is(backend, size, tmp_path):
    ids = np.arange(size[0] * size[1], dtype=np.uint8).reshape(size)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.dstack([ids] * 3)).save(tmp_path / "image.png", exif=exif)
    Image.fromarray(ids).save(tmp_path / "mask.png", exif=exif)
    image, mask = (Image.open(tmp_path / x) for x in ("image.png", "mask.png"))
    inputs = backend(do_normalize=False, do_rescale=False)(image, segmentation_maps=mask)
    np.testing.assert_array_equal(inputs["labels"][0], np.rot90(ids, -1))
    np.testing.assert_array_equal(np.asarray(inputs["pixel_values"][0])[0], np.rot90(ids, -1))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("bits", [1, 2, 4])
def test_label_maps_of_few_bits_hold_what_their_file_holds(backend, bits, tmp_path):
    import zlib

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    ids = np.arange(64).reshape(8, 8) % 2**bits
    rows = np.unpackbits(ids.astype(np.uint8)[..., None], axis=2)[..., 8 - bits :].reshape(8, -1)
    packed = b"".join(b"\0" + row.tobytes() for row in np.packbits(rows, axis=1))
    head = struct.pack(">IIBBBBB", 8, 8, bits, 0, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(packed)) + chunk(b"IEND", b"")
    (tmp_path / "mask.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    mask = Image.open(tmp_path / "mask.png")
    (labels,) = backend()(np.zeros((8, 8, 3), np.uint8), segmentation_maps=mask)["labels"]
    np.testing.assert_array_equal(labels, ids)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_picture_is_no_label_map(backend):
    image = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(ValueError, match="a label map of|list of images"):
        backend()(image, segmentation_maps=Image.fromarray(image))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("bad", [np.full((20, 30), -1), np.full((20, 30), 65536), np.full((20, 30), 0.5)])
def test_labels_that_are_none_are_refused(backend, bad):
    with pytest.raises(ValueError, match="a label map holds .*expected integers from 0 to 65535"):
        backend()(np.zeros((20, 30, 3), np.uint8), segmentation_maps=bad)
