"""Inference agrees with mmsegmentation's slide and multi-scale inference, and needs no more than strips of scores."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import reference
from PIL import Image

from modeling_ocrnet import OCRNetImageProcessor
from modeling_ocrnet.inference import segmentation
from modeling_ocrnet.inference.segmentation import InferenceOptions, interpolate_rows, predict, segment, window_boxes


@pytest.fixture(scope="module")
def model():
    return reference.mmseg_model()


@pytest.fixture(scope="module")
def expected():
    return reference.load("mmseg_inference")


def picture(width, height, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_sliding_window_agrees_with_mmsegmentation(model, expected, batch_size):
    options = InferenceOptions(window=(64, 96), stride=(43, 64), batch_size=batch_size)
    (prediction,) = predict(model, expected["pixel_values"], options)
    logits = expected["slide_logits"][0]
    # logits of these random weights reach hundreds: 1e-4 of the largest, as in test_parity
    tolerance = 1e-4 * logits.abs().max().item()
    torch.testing.assert_close(prediction.rows(0, 130), logits, atol=tolerance, rtol=0)
    assert (prediction.label_map() == logits.argmax(0).numpy()).mean() > 0.9999


def test_scales_and_mirrors_agree_with_mmsegmentation(model, expected):
    options = InferenceOptions(scales=[0.5, 1.0, 1.5], flip=True)
    (prediction,) = predict(model, expected["pixel_values"], options)
    torch.testing.assert_close(prediction.rows(0, 130), expected["multiscale_flip_probabilities"][0], atol=1e-3, rtol=0)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", [(97, 131), (12, 9), (33, 50), (66, 50), (1, 1)])
def test_strips_of_a_resized_map_are_those_of_interpolate(size, align_corners):
    source = torch.randn(3, 33, 50)
    whole = F.interpolate(source[None], size=size, mode="bilinear", align_corners=align_corners)[0]
    strips = [interpolate_rows(source, size, x, min(x + 5, size[0]), align_corners) for x in range(0, size[0], 5)]
    torch.testing.assert_close(torch.cat(strips, dim=1), whole, atol=1e-5, rtol=0)


def test_label_maps_do_not_depend_on_the_strips(model, expected, monkeypatch):
    options = InferenceOptions(window=(64, 96), scales=[1.0, 0.75], flip=True)
    (prediction,) = predict(model, expected["pixel_values"], options, size=(201, 300))
    whole = prediction.rows(0, 201).argmax(dim=0).numpy()
    rows = []
    original = prediction.rows
    monkeypatch.setattr(segmentation, "STRIP", 5 * 300 * 7)
    monkeypatch.setattr(prediction, "rows", lambda *x: rows.append(x) or original(*x))
    np.testing.assert_array_equal(prediction.label_map(), whole)
    assert max(stop - start for start, stop in rows) == 7
    assert len(rows) == 29


def test_images_in_a_batch_get_what_they_get_alone(model):
    processor = OCRNetImageProcessor()
    images = [picture(96, 64, 0), picture(96, 64, 1), picture(80, 72, 2), picture(96, 64, 3)]
    together = segment(model, processor, images, InferenceOptions(batch_size=3))
    for image, label_map in zip(images, together, strict=True):
        assert label_map.shape == image.size[::-1]
        assert label_map.dtype == np.uint8
        (alone,) = segment(model, processor, [image])
        assert (label_map == alone).mean() > 0.999


@pytest.mark.parametrize("window", [None, (64, 64)])
def test_a_mirrored_image_gets_the_mirrored_prediction(model, expected, window, monkeypatch):
    """And its left arm is the other one's right arm."""
    monkeypatch.setattr(model.config, "flip_pairs", [[1, 3]])
    options = InferenceOptions(window=window, flip=True)
    (prediction,) = predict(model, expected["pixel_values"], options)
    (mirrored,) = predict(model, expected["pixel_values"].flip(3), options)
    swapped = mirrored.rows(0, 130).flip(2)[[0, 3, 2, 1, 4]]
    torch.testing.assert_close(prediction.rows(0, 130), swapped, atol=1e-3, rtol=0)


def test_bfloat16_segments_alike(model, expected):
    images = expected["pixel_values"]
    (exact,) = predict(model, images)
    half = reference.mmseg_model().to(torch.bfloat16)
    (rounded,) = predict(half, images)
    assert rounded.rows(0, 4).dtype == torch.float32  # sums and means of scores aren't half
    assert (exact.label_map() == rounded.label_map()).mean() > 0.9


@pytest.mark.parametrize("size", [(130, 190), (64, 96), (40, 50), (65, 97), (300, 64)])
def test_windows_cover_the_image_and_stay_inside(size):
    covered = np.zeros(size, int)
    shapes = set()
    for top, left, height, width in window_boxes(size, InferenceOptions(window=(64, 96), stride=(43, 64))):
        assert top >= 0
        assert left >= 0
        assert top + height <= size[0]
        assert left + width <= size[1]
        covered[top : top + height, left : left + width] += 1
        shapes.add((height, width))
    assert covered.min() == 1
    assert shapes == {(min(64, size[0]), min(96, size[1]))}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"stride": (4, 4)}, "no window"),
        ({"window": (64, 64), "stride": (65, 64)}, "stride"),
        ({"scales": []}, "scales"),
        ({"scales": [1.0, 0.0]}, "scales"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_options_that_make_no_sense_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        InferenceOptions(**fields)
