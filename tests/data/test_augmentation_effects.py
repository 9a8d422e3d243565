"""What each augmentation does to pixels and labels, against other libraries, and against what its name promises."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from modeling_ocrnet.data.augmentations import Crop, blur, clahe, cutout, grey, jpeg, noise, rotate

FILL = (124, 116, 104)


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def smooth(rng, size=(96, 150)):
    """A picture with structure at several scales."""
    pixels = sum(k * cv2.resize(rng.random((k, k, 3)), size[::-1], interpolation=cv2.INTER_CUBIC) for k in (3, 9, 30))
    pixels = cv2.normalize(pixels, None, 0, 255, cv2.NORM_MINMAX)
    return pixels.astype(np.uint8)


def crop(rng, size=(96, 150), ids=7, dtype=np.uint8):
    label = cv2.resize(rng.integers(0, ids, (6, 9)).astype(dtype), size[::-1], interpolation=cv2.INTER_NEAREST)
    return Crop(smooth(rng, size), label, FILL)


@pytest.mark.parametrize(("degrees", "turns"), [(90, 1), (-90, 3), (180, 2), (-180, 2)])
@pytest.mark.parametrize("size", [(80, 80), (60, 96)])
def test_right_angles_are_those_of_numpy(rng, degrees, turns, size):
    given = crop(rng, size)
    turned = rotate.rotate(given, degrees)
    for a, b in ((turned.image, given.image), (turned.label, given.label)):
        expected = np.rot90(b, turns)
        # of a crop that isn't square, the middle: the rest is outside, or filled
        edge = min(size)
        middle = [tuple(slice((n - edge) // 2, (n + edge) // 2) for n in x.shape[:2]) for x in (a, expected)]
        np.testing.assert_allclose(a[middle[0]].astype(int), expected[middle[1]].astype(int), atol=1)
    if size[0] == size[1]:
        assert not turned.filled.any()


@pytest.mark.parametrize("degrees", [7.3, -24, 45])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_any_angle_is_that_of_opencv(rng, degrees, dtype):
    ids = 7 if dtype is np.uint8 else 60_000
    given = crop(rng, ids=ids, dtype=dtype)
    height, width = given.label.shape
    turned = rotate.rotate(given, degrees)
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1)
    ignore = np.iinfo(dtype).max
    label = cv2.warpAffine(given.label, matrix, (width, height), flags=cv2.INTER_NEAREST, borderValue=int(ignore))
    image = cv2.warpAffine(given.image, matrix, (width, height), borderValue=FILL)
    assert turned.label.dtype == dtype
    assert (turned.label == label).mean() > 0.985  # OpenCV's coordinates are multiples of 1/32
    inside = cv2.erode(1 - turned.filled.astype(np.uint8), np.ones((5, 5))) > 0
    assert inside.mean() > 0.25
    assert np.abs(turned.image.astype(int) - image)[inside].mean() < 1


def test_corners_are_ignored_and_have_the_mean_colour(rng):
    """Class 0 fills none of them, and labels aren't mixed."""
    given = Crop(smooth(rng), np.full((96, 150), 5, np.uint8), FILL)
    turned = rotate.rotate(given, 20)
    assert set(np.unique(turned.label)) == {5, 255}
    assert np.array_equal(turned.filled, turned.label == 255)
    assert all(turned.filled[y, x] for y in (0, -1) for x in (0, -1))
    beyond = cv2.erode(turned.filled.astype(np.uint8), np.ones((3, 3)), borderValue=1) > 0
    assert (turned.image[beyond] == FILL).all()
    again = rotate.rotate(turned, -20)  # what shows nothing shows nothing after another rotation
    assert (again.label[again.filled] == 255).all()
    assert again.filled.sum() > turned.filled.sum()


def test_ignored_pixels_stay_ignored_but_show_something():
    label = np.zeros((40, 40), np.uint8)
    label[10:30, 10:30] = 255
    turned = rotate.rotate(Crop(np.zeros((40, 40, 3), np.uint8), label, FILL), 90)
    assert (turned.label == 255).sum() == 400
    assert not turned.filled.any()


def test_angles_are_even_in_their_range(rng):
    """The angle of a bar, measured on the turned label map."""
    label = np.zeros((101, 101), np.uint8)
    label[48:53, 10:91] = 1
    given, angles = Crop(np.zeros((101, 101, 3), np.uint8), label, FILL), []
    for _ in range(150):
        y, x = np.nonzero(rotate.Rotate(degrees=30).apply(given, rng).label == 1)
        angles.append(-np.degrees(np.arctan(np.polyfit(x, y, 1)[0])))  # rows count downwards
    assert -31 < min(angles) < -24
    assert 24 < max(angles) < 31
    assert abs(np.mean(angles)) < 5


@pytest.mark.parametrize("sigma", [0.1, 0.6, 1.7, 4.0, 20.0])
@pytest.mark.parametrize("size", [(96, 150), (3, 40), (1, 1)])
def test_blur_is_that_of_opencv(rng, sigma, size):
    image = rng.integers(0, 256, (*size, 3), np.uint8)
    height, width = (2 * min(int(np.ceil(3 * sigma)), edge - 1) + 1 for edge in size)
    # of floats: OpenCV's 8-bit kernel has weights of 8 bits
    expected = cv2.GaussianBlur(image.astype(np.float32), (width, height), sigma, borderType=cv2.BORDER_REFLECT_101)
    assert np.abs(blur.blur(image, sigma) - expected).max() < 0.51


def test_noise_has_its_deviation_and_no_structure(rng):
    grey_picture = np.full((300, 400, 3), 128, np.uint8)
    added = noise.add_noise(grey_picture, 12.0, rng).astype(float) - 128
    assert abs(added.mean()) < 0.1
    assert abs(added.std() - 12) < 0.1
    assert abs((np.abs(added) < 12).mean() - 0.662) < 0.005  # of a normal distribution within 11.5/12 of sigma
    pairs = [(added[:, 1:], added[:, :-1]), (added[1:], added[:-1]), (added[..., 0], added[..., 1])]
    assert all(abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.01 for a, b in pairs)


def test_noise_is_clipped_not_wrapped(rng):
    for level in (0, 255):
        noisy = noise.add_noise(np.full((50, 50, 3), level, np.uint8), 20.0, rng).astype(int)
        assert np.abs(noisy - level).max() < 110
        assert (noisy == level).mean() > 0.45


@pytest.mark.parametrize("quality", [5, 40, 95])
def test_jpeg_is_that_of_pillow(rng, quality):
    image, file = smooth(rng), io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    expected = np.asarray(Image.open(file)).astype(int)
    found = jpeg.compress(image, quality).astype(int)
    assert np.abs(found - expected).mean() < 0.5
    assert np.abs(found - image).mean() > 2 * np.abs(found - expected).mean()


def test_quality_is_even_from_the_lowest_to_95(rng, monkeypatch):
    drawn = []
    monkeypatch.setattr(jpeg, "compress", lambda image, quality: drawn.append(quality) or image)
    given = crop(rng, (8, 8))
    for _ in range(2000):
        jpeg.Jpeg(quality=90).apply(given, rng)
    assert set(drawn) == set(range(90, 96))
    assert min(map(drawn.count, set(drawn))) > 250


def test_clahe_raises_the_contrast_of_each_part(rng):
    """A dark half and a bright one, both flat: each gets more contrast, as one global mapping couldn't."""
    picture = rng.normal(0, 4, (128, 128)) + np.where(np.arange(128) < 64, 30, 220)
    image = np.repeat(picture.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
    weak, strong = (clahe.equalize(image, limit, 4) for limit in (2, 8))
    for half in (slice(0, 56), slice(72, 128)):
        contrasts = [x[:, half].std() for x in (image, weak, strong)]
        assert contrasts == sorted(contrasts)
        assert contrasts[2] > 2 * contrasts[0]
    assert strong[:, :56].mean() + 50 < strong[:, 72:].mean()
    assert np.ptp(strong.astype(int), axis=2).max() <= 3  # grey stays grey


def test_one_tile_without_a_limit_is_plain_equalisation(rng):
    """Lightness is then even over its range: it is its own rank."""
    image = np.repeat(cv2.GaussianBlur(rng.integers(0, 256, (128, 128), np.uint8), (0, 0), 1)[..., None], 3, axis=2)
    before, after = (
        cv2.cvtColor(x, cv2.COLOR_RGB2LAB)[..., 0].ravel().astype(float) for x in (image, clahe.equalize(image, 40, 1))
    )
    expected = np.array([(before <= x).mean() for x in range(256)])[before.astype(int)] * 255
    assert np.abs(after - expected).mean() < 2


def test_grey_is_the_luma_of_opencv(rng):
    image = rng.integers(0, 256, (40, 50, 3), np.uint8)
    found = grey.to_grey(image)
    assert np.array_equal(found[..., 0], found[..., 1])
    assert np.array_equal(found[..., 0], found[..., 2])
    expected = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    assert np.abs(found[..., 0].astype(int) - expected).max() <= 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_hole_shows_nothing_and_is_ignored(rng, dtype):
    given = crop(rng, dtype=dtype)
    cut = cutout.cut_out(given, (10, 20, 30, 40), keep_labels=False)
    inside = np.zeros(given.label.shape, bool)
    inside[10:40, 20:60] = True
    assert np.array_equal(cut.filled, inside)
    assert (cut.image[inside] == FILL).all()
    assert np.array_equal(cut.image[~inside], given.image[~inside])
    assert (cut.label[inside] == np.iinfo(dtype).max).all()
    assert np.array_equal(cut.label[~inside], given.label[~inside])
    kept = cutout.cut_out(given, (10, 20, 30, 40), keep_labels=True)
    assert np.array_equal(kept.label, given.label)
    assert np.array_equal(kept.image, cut.image)


def test_holes_have_the_number_and_the_sizes_that_were_asked_for(rng):
    given, areas, edges = crop(rng, (100, 200)), [], []
    for _ in range(400):
        filled = cutout.Cutout(holes=1, size=0.4).apply(given, rng).filled
        rows, columns = np.flatnonzero(filled.any(axis=1)), np.flatnonzero(filled.any(axis=0))
        assert filled.sum() == len(rows) * len(columns)  # one rectangle
        areas.append(filled.mean())
        edges.append((len(rows), len(columns)))
    assert np.max(edges, axis=0).tolist() == [40, 80]
    assert abs(np.mean(areas) - 0.2**2) < 0.006  # the mean of a product of two independent edges
    many = cutout.Cutout(holes=8, size=0.02).apply(given, rng)
    assert 2 <= cv2.connectedComponents(many.filled.astype(np.uint8))[0] - 1 <= 8


def test_holes_are_everywhere(rng):
    given = crop(rng, (40, 60))
    filled = np.mean([cutout.Cutout(size=0.3).apply(given, rng).filled for _ in range(2000)], axis=0)
    assert min(x.max() for x in (filled[0], filled[-1], filled[:, 0], filled[:, -1])) > 0  # edges too
    assert filled[10:30, 15:45].std() < 0.3 * filled[10:30, 15:45].mean()
