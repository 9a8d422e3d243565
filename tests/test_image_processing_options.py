"""The image processor's options, compared with PIL and plain arithmetic, on both backends."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor

from modeling_ocrnet import OCRNetImageProcessor, OCRNetImageProcessorPil

BACKENDS = pytest.mark.parametrize("backend", [OCRNetImageProcessor, OCRNetImageProcessorPil])


@pytest.fixture
def image():
    return Image.effect_noise((70, 50), 60).convert("RGB")


@BACKENDS
def test_steps_can_be_left_out(backend, image):
    raw = backend()(image, do_normalize=False, do_rescale=False, return_tensors="pt")["pixel_values"][0]
    np.testing.assert_array_equal(raw.numpy(), np.asarray(image).transpose(2, 0, 1))
    scaled = backend(do_normalize=False)(image, return_tensors="pt")["pixel_values"][0]
    np.testing.assert_allclose(scaled.numpy(), np.asarray(image).transpose(2, 0, 1) / 255, atol=1e-6)


@BACKENDS
def test_mean_and_deviation_are_the_ones_given(backend, image):
    mean, std = [0.1, 0.2, 0.3], [0.5, 0.6, 0.7]
    ours = backend(image_mean=mean, image_std=std)(image, return_tensors="pt")["pixel_values"][0]
    expected = (np.asarray(image) / 255 - mean) / std
    np.testing.assert_allclose(ours.numpy(), expected.transpose(2, 0, 1), atol=1e-5)


@BACKENDS
def test_options_of_a_call_win_and_do_not_stay(backend, image):
    processor = backend(do_resize=True, size={"height": 32, "width": 48})
    assert processor(image, size={"height": 24, "width": 16}, return_tensors="pt")["pixel_values"].shape[2:] == (24, 16)
    assert processor(image, do_resize=False, return_tensors="pt")["pixel_values"].shape[2:] == (50, 70)
    assert processor(image, return_tensors="pt")["pixel_values"].shape[2:] == (32, 48)


@BACKENDS
def test_resizing_is_pils(backend, image):
    size = {"height": 30, "width": 40}
    ours = backend(do_resize=True, size=size, do_normalize=False, do_rescale=False)(image, return_tensors="pt")
    expected = np.asarray(image.resize((40, 30), Image.Resampling.BILINEAR)).astype(float)
    assert np.abs(ours["pixel_values"][0].numpy() - expected.transpose(2, 0, 1)).max() <= 1


@BACKENDS
def test_images_of_different_sizes_become_one_batch_when_resized(backend, image):
    """Each label map with its image, and resized without mixing classes."""
    images = [image, image.crop((0, 0, 30, 45)), image.crop((5, 5, 60, 25))]
    maps = [np.random.default_rng(i).choice([0, 3, 255], x.size[::-1]).astype(np.uint8) for i, x in enumerate(images)]
    processor = backend(do_resize=True, size={"height": 20, "width": 28})
    batch = processor(images, segmentation_maps=maps, return_tensors="pt")
    assert batch["pixel_values"].shape == (3, 3, 20, 28)
    assert batch["labels"].shape == (3, 20, 28)
    for label, mask in zip(batch["labels"], maps, strict=True):
        expected = Image.fromarray(mask).resize((28, 20), Image.Resampling.NEAREST)
        np.testing.assert_array_equal(label.numpy(), np.asarray(expected))
    for one, alone in zip(batch["pixel_values"], images, strict=True):
        torch.testing.assert_close(one, processor(alone, return_tensors="pt")["pixel_values"][0])


@BACKENDS
def test_arrays_tensors_and_pictures_are_the_same(backend, image):
    array = np.array(image)
    expected = backend()(image, return_tensors="pt")["pixel_values"]
    for other in (array, torch.from_numpy(array.transpose(2, 0, 1).copy())):
        torch.testing.assert_close(backend()(other, return_tensors="pt")["pixel_values"], expected)


@BACKENDS
def test_grey_pictures_become_rgb(backend, image):
    grey = image.convert("L")
    assert torch.equal(
        backend()(grey, return_tensors="pt")["pixel_values"],
        backend()(grey.convert("RGB"), return_tensors="pt")["pixel_values"],
    )


@BACKENDS
def test_options_are_saved(backend, image, tmp_path):
    processor = backend(do_resize=True, size={"height": 16, "width": 24}, image_mean=[0.1] * 3, do_reduce_labels=True)
    processor.save_pretrained(tmp_path)
    for loaded in (backend.from_pretrained(tmp_path), AutoImageProcessor.from_pretrained(tmp_path)):
        assert loaded.do_reduce_labels
        ours, theirs = (x(image, return_tensors="pt")["pixel_values"] for x in (processor, loaded))
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0.02)  # another backend: a grey level


@BACKENDS
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_label_maps_have_the_sizes_asked_for(backend, dtype):
    """From a tensor of sizes as well as from tuples; each image its own."""
    logits = torch.zeros(2, 3, 4, 6, dtype=dtype)
    logits[0, 1, :, :3] = logits[0, 2, :, 3:] = 1  # left half class 1, right half class 2
    logits[1, 2, :2] = 1  # upper half class 2, below it class 0 (the first of equals)
    sizes = torch.tensor([[8, 12], [40, 10]])
    maps = backend().post_process_semantic_segmentation(SimpleNamespace(logits=logits), target_sizes=sizes)
    assert [tuple(x.shape) for x in maps] == [(8, 12), (40, 10)]
    assert {x.dtype for x in maps} == {torch.int64}
    assert (maps[0][:, :6] == 1).all()
    assert (maps[0][:, 6:] == 2).all()
    assert (maps[1][:20] == 2).all()
    assert (maps[1][30:] == 0).all()
