"""The image processor: both backends, label maps, and the way back."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

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
