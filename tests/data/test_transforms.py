"""Transforms agree with mmsegmentation's, pixel for pixel (fixtures/mmseg_transforms)."""

import cv2
import numpy as np
import pytest
from helpers import reference

from modeling_ocrnet.data import transforms as T
from modeling_ocrnet.data.normalization import MEAN, STD


@pytest.fixture(scope="module")
def expected():
    return {key: value.numpy() for key, value in reference.load("mmseg_transforms").items()}


OPERATIONS = {
    "brightness": T.shift_brightness,
    "contrast": T.scale_contrast,
    "saturation": T.scale_saturation,
    "hue": lambda image, value: T.shift_hue(image, int(value)),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_colours_agree(expected, name):
    """Against mmsegmentation's results for the same image and strength."""
    cases = [key for key in expected if key.startswith(name + ".")]
    assert len(cases) >= 2
    for case in cases:
        changed = OPERATIONS[name](expected["image"], float(case.removeprefix(name + ".")))
        assert not np.array_equal(changed, expected["image"])
        np.testing.assert_array_equal(changed, expected[case])


@pytest.mark.parametrize("scale", [(64, 32), (97, 53), (300, 100), (41, 200)])
def test_resizing_agrees(expected, scale):
    """Against mmsegmentation's image and label at the same scale."""
    image, label = expected["image"], expected["label"]
    size = T.rescaled_size(image.shape[:2], scale, 1.0)
    image, label = T.resize(image, size), T.ResizedLabel(label, size)[: size[0], : size[1]]
    np.testing.assert_array_equal(image, expected[f"resize.{scale[0]}x{scale[1]}.image"])
    np.testing.assert_array_equal(label, expected[f"resize.{scale[0]}x{scale[1]}.label"])


def test_a_corner_is_resized_as_the_whole_is():
    """As cv2.resize of the whole and then cutting: to the bit."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        have = tuple(int(n) for n in rng.integers(30, 200, 2))
        image = rng.integers(0, 256, (*have, 3), dtype=np.uint8)
        size = T.rescaled_size(have, (206, 122), rng.uniform(0.2, 2))
        bottom, right = (int(rng.integers(1, n + 1)) for n in size)
        whole = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
        corner = T.resize(image, size, until=(bottom, right))
        np.testing.assert_array_equal(corner[:bottom, :right], whole[:bottom, :right])


def test_a_window_of_labels_is_cut_from_the_resized_map():
    """As cv2.resize of the whole and then cutting."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 256, (61, 103), dtype=np.uint8)
    for _ in range(200):
        size = T.rescaled_size((61, 103), (206, 122), rng.uniform(0.2, 1.5))
        top, left = (int(rng.integers(0, n - 9)) for n in size)
        window = np.s_[top : int(rng.integers(top + 1, size[0] + 1)), left : int(rng.integers(left + 1, size[1] + 1))]
        np.testing.assert_array_equal(
            T.ResizedLabel(label, size)[window], cv2.resize(label, size[::-1], interpolation=cv2.INTER_NEAREST)[window]
        )


def test_normalisation_and_padding_agree(expected):
    pixels, label = T.pad(T.normalize(expected["image"]), expected["label"].astype(np.int64), (48, 64))
    np.testing.assert_allclose(pixels, expected["normalized"], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(label, expected["padded_label"])


class Scripted:
    """A generator that returns what it is told to."""

    def __init__(self, integers):
        self._integers = iter(integers)
        self.drawn = 0

    def integers(self, low, high):
        self.drawn += 1
        value = next(self._integers)
        assert low <= value < high
        return value


def test_the_same_crops_are_accepted(expected):
    """At every position: mmsegmentation keeps a window exactly where we do."""
    label, accepted = expected["crop_label"], expected["crop_16x24.accepted"].astype(bool)
    assert accepted.any()
    assert not accepted.all()
    for (y, x), kept in np.ndenumerate(accepted):
        rng = Scripted([y, x] + [0, 0] * 10)
        corner, window = T.choose_crop(label, (16, 24), 0.75, rng)
        assert (rng.drawn == 2) == kept
        if kept:
            assert corner == (y, x)
            np.testing.assert_array_equal(window, label[y : y + 16, x : x + 24])


def test_a_hopeless_crop_is_drawn_ten_more_times():
    rng = Scripted([0, 0] * 11)
    T.choose_crop(np.zeros((8, 8), np.uint8), (4, 4), 0.75, rng)
    assert rng.drawn == 22


def test_a_flip_swaps_left_and_right():
    """LIP: left arm 14, right arm 15."""
    image = np.arange(12, dtype=np.uint8).reshape(1, 4, 3)
    flipped, label = T.flip(image, np.array([[14, 3, 15, 255]], np.uint8), pairs=[(14, 15)])
    assert label.tolist() == [[255, 14, 3, 15]]
    np.testing.assert_array_equal(flipped[0, 0], image[0, 3])


def test_distortion_does_each_step_half_of_the_time():
    image = np.full((2, 2, 3), (200, 120, 40), np.uint8)
    rng = np.random.default_rng(0)
    untouched = sum(np.array_equal(T.distort(image, rng), image) for _ in range(2000)) / 2000
    # none of the four steps acts in 1/16 of the draws; a few more leave these values as they are
    assert 1 / 16 - 0.02 < untouched < 1 / 16 + 0.04


def test_the_whole_transform_is_a_function_of_the_generator(expected):
    transform = T.TrainingTransform(crop_size=(32, 48), scale=(61, 40))

    def run(seed):
        return transform(expected["image"], expected["label"], np.random.default_rng(seed))

    outputs = [run(seed) for seed in range(20)]
    for (pixels, label), seed in zip(outputs, range(20), strict=True):
        assert pixels.shape == (3, 32, 48)
        assert pixels.dtype == np.float32
        assert label.shape == (32, 48)
        assert set(np.unique(label)) <= {0, 1, 2, 3, 4, 255}
        np.testing.assert_array_equal(pixels, run(seed)[0])
    assert len({pixels.tobytes() for pixels, _ in outputs}) == 20


def test_image_and_label_stay_together():
    """Wherever the image ends up, its pixels still carry their label: the value says the class."""
    label = np.repeat(np.repeat(np.arange(4, dtype=np.uint8).reshape(2, 2), 20, 0), 30, 1)
    image = np.repeat((label * 60)[..., None], 3, axis=2)
    transform = T.TrainingTransform((24, 40), scale=(60, 40), photometric=False)
    for seed in range(20):
        pixels, classes = transform(image, label, np.random.default_rng(seed))
        values = (pixels.transpose(1, 2, 0) * STD + MEAN)[classes != 255]
        agree = np.abs(values[:, 0] - 60 * classes[classes != 255]) < 1
        assert agree.mean() > 0.85  # all but the blurred borders
