"""scripts/prepare_data.py pascal_context on annotations written here, against masks drawn by other means."""

import json

import numpy as np
import pytest
from matplotlib.path import Path as Outline
from PIL import Image

from modeling_ocrnet import data
from modeling_ocrnet.data import DataError
from modeling_ocrnet.preparation.pascal_context import CATEGORIES
from modeling_ocrnet.preparation.run_lengths import decompress, region_mask

HEIGHT, WIDTH = 30, 40
STAR = [20.0, 1.5, 26.3, 27.2, 3.1, 9.9, 37.0, 8.2, 12.4, 28.0]
BOX = [2, 3, 12, 3, 12, 9, 2, 9]


def runs_of(mask) -> list[int]:
    """Run lengths down the columns, the first of zeros."""
    flat = mask.ravel(order="F").astype(int)
    changes = np.flatnonzero(np.diff(np.concatenate([[0], flat]))).tolist()
    return np.diff([0, *changes, flat.size]).tolist()


def compress(runs) -> str:
    """COCO's string, number by number, as its format is described: the inverse of what is tested."""
    text = ""
    for i, number in enumerate(runs):
        number = number - runs[i - 2] if i > 2 else number
        while True:
            digit, number = number & 31, number >> 5
            last = number == (-1 if digit & 16 else 0)
            text += chr(48 + digit + (0 if last else 32))
            if last:
                break
    return text


def by_matplotlib(polygon):
    """Pixels whose centres are inside."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    outline = Outline(np.reshape(polygon, (-1, 2)))
    return outline.contains_points(np.stack([x.ravel() + 0.5, y.ravel() + 0.5], 1)).reshape(HEIGHT, WIDTH)


def test_worked_examples():
    """By hand: 16 needs a second digit to tell it from -16, 40 is 8 + 32 * 1; the fourth number is the difference
    to the second, 4 - 3, and the fifth to the third, 2 - 8."""
    assert decompress("538").tolist() == [5, 3, 8]
    assert decompress("`0").tolist() == [16]
    assert decompress("X1").tolist() == [40]
    assert decompress("5381J").tolist() == [5, 3, 8, 4, 2]
    mask = region_mask({"size": [2, 3], "counts": [1, 3, 2]}, 2, 3)
    assert mask.astype(int).tolist() == [[0, 1, 0], [1, 1, 0]]


@pytest.mark.parametrize("density", [0.0, 0.01, 0.5, 0.99, 1.0])
def test_round_trip(density):
    """Any mask, by both kinds of run lengths; also one of long runs, whose differences are large and negative."""
    mask = np.random.default_rng(0).random((97, 61)) < density
    mask[:, 20:40] = True
    runs = runs_of(mask)
    for counts in (runs, compress(runs)):
        np.testing.assert_array_equal(region_mask({"size": [97, 61], "counts": counts}, 97, 61), mask)


def test_polygons_cover_the_pixels_whose_centres_are_inside():
    """A triangle as matplotlib sees it; a star is hollow by the even-odd rule; several polygons are one region."""
    for polygon in (STAR[:6], BOX, [-5, -5, 60, 10.2, 8.1, 50]):
        np.testing.assert_array_equal(region_mask([polygon], HEIGHT, WIDTH), by_matplotlib(polygon))
    star = region_mask([STAR], HEIGHT, WIDTH)
    assert not star[13, 19]
    both = region_mask([BOX, STAR[:6]], HEIGHT, WIDTH)
    np.testing.assert_array_equal(both, by_matplotlib(BOX) | by_matplotlib(STAR[:6]))


@pytest.mark.parametrize(
    ("region", "message"),
    [
        ({"size": [4, 4], "counts": [5, 3]}, "8 pixels in total, expected 16"),
        ({"size": [4, 4], "counts": [5, -3, 14]}, "16 pixels in total, expected 16|negative"),
        ({"size": [4, 5], "counts": [20]}, r"size \[4, 5\], but its image has \[4, 4\]"),
        ({"size": [4, 4], "counts": "X"}, "aren't COCO's"),
        ({"size": [4, 4], "counts": "5 3"}, "aren't COCO's"),
        ({"size": [4, 4]}, "expected run lengths or a list of polygons"),
        ([[1, 2, 3]], "the polygon is"),
    ],
)
def test_broken_regions(region, message):
    with pytest.raises(DataError, match=message):
        region_mask(region, 4, 4)


@pytest.fixture
def voc(tmp_path):
    """Two images to train on and one for validation, one of a phase that isn't used; regions of both kinds."""
    rng = np.random.default_rng(0)
    masks = [rng.random((HEIGHT, WIDTH)) < 0.3 for _ in range(2)]
    images = [
        {"image_id": k, "file_name": f"2008_{k:06d}.jpg", "phase": phase, "height": HEIGHT, "width": WIDTH}
        for k, phase in ((7, "train"), (3, "train"), (5, "val"), (9, "test"))
    ]
    regions = [
        # a tvmonitor, a person over it, and wood as plain run lengths over both
        {"id": 1, "image_id": 7, "category_id": 427, "segmentation": [BOX]},
        {"id": 2, "image_id": 7, "category_id": 284, "segmentation": [STAR[:6]]},
        {"id": 3, "image_id": 3, "category_id": 2, "segmentation": packed(compress(runs_of(masks[0])))},
        {"id": 4, "image_id": 7, "category_id": 458, "segmentation": packed(runs_of(masks[1]))},
    ]
    root = tmp_path / "VOCdevkit" / "VOC2010"
    (root / "JPEGImages").mkdir(parents=True)
    for image in images[:3]:
        Image.new("RGB", (WIDTH, HEIGHT)).save(root / "JPEGImages" / image["file_name"])
    write(root, images, regions)
    first = np.zeros((HEIGHT, WIDTH), int)
    names = data.label_set("pascal_context_60").names
    first[by_matplotlib(BOX)] = names.index("tvmonitor")
    first[by_matplotlib(STAR[:6])] = names.index("person")
    first[masks[1]] = names.index("wood")
    return root, {"2008_000007": first, "2008_000003": masks[0].astype(int), "2008_000005": 0 * first}


def packed(counts) -> dict:
    return {"size": [HEIGHT, WIDTH], "counts": counts}


def write(root, images, regions):
    content = {"images": images, "annos_segmentation": regions, "categories": [], "annos_occlusion": []}
    (root / "trainval_merged.json").write_text(json.dumps(content))


def test_masks_and_lists(prepare_data, voc):
    """Later regions lie over earlier ones, the rest is background; both readers take what was written."""
    root, expected = voc
    assert prepare_data("pascal_context", "--root", root.parents[1]) == 0
    for split, names in (("train", ["2008_000003", "2008_000007"]), ("val", ["2008_000005"])):
        with_background = data.load("pascal_context_60", root, split)
        without = data.load("pascal_context_59", root, split)
        data.check(with_background)
        assert with_background["name"] == without["name"] == names
        for row, other in zip(with_background, without, strict=True):
            np.testing.assert_array_equal(row["label"], expected[row["name"]])
            np.testing.assert_array_equal(other["label"], (expected[row["name"]] - 1) % 256)  # the background: 255
    assert not list(root.rglob("*.part"))


def test_the_59_categories():
    """In the order of their ids they are in that of their names: the 459 categories are sorted by name.

    And VOC's twenty classes have the ids that PASCAL in Detail's API gives in VOC's order (dining table is table).
    """
    names = data.label_set("pascal_context_59").names
    twenty = [2, 23, 25, 31, 34, 45, 59, 65, 72, 98, 397, 113, 207, 258, 284, 308, 347, 368, 416, 427]
    of_voc = [x.replace("diningtable", "table") for x in data.label_set("pascal_voc").names[1:]]
    assert [names[CATEGORIES.index(k)] for k in twenty] == of_voc
    assert len(CATEGORIES) == len(set(CATEGORIES)) == len(names)
    assert list(CATEGORIES) == sorted(CATEGORIES)
    assert list(names) == sorted(names)


def test_an_interrupted_run_goes_on(prepare_data, voc, capsys):
    """What is there is kept as it is; a half-written file isn't taken for a mask."""
    root, expected = voc
    masks = root / "SegmentationClassContext"
    masks.mkdir()
    Image.new("L", (WIDTH, HEIGHT), 12).save(masks / "2008_000003.png")
    (masks / ".2008_000007.png.part").write_bytes(b"half")
    assert prepare_data("pascal_context", "--root", root) == 0
    assert "2 masks to make, 1 existed" in capsys.readouterr().out
    assert sorted(x.name for x in masks.iterdir()) == [f"{name}.png" for name in sorted(expected)]
    assert Image.open(masks / "2008_000003.png").getextrema() == (12, 12)


def test_regions_that_cannot_be_decoded_are_all_named(prepare_data, voc, capsys):
    """The other masks are made; no list, until all are there."""
    root, _ = voc
    content = json.loads((root / "trainval_merged.json").read_text())
    for region in content["annos_segmentation"][1:3]:
        region["segmentation"] = packed([1, 2])
    write(root, content["images"], content["annos_segmentation"])
    assert prepare_data("pascal_context", "--root", root) == 1
    printed = capsys.readouterr().out
    assert "2008_000007, annotation 2: the run lengths have 3 pixels in total, expected 1200" in printed
    assert "2008_000003, annotation 3: the run lengths have 3 pixels" in printed
    assert [x.name for x in (root / "SegmentationClassContext").iterdir()] == ["2008_000005.png"]
    assert not (root / "ImageSets").exists()


def test_what_is_known_before_is_said_before(prepare_data, voc):
    """Unknown categories, annotations without an image, missing images: all listed, and nothing is written."""
    root, _ = voc
    content = json.loads((root / "trainval_merged.json").read_text())
    content["annos_segmentation"][0]["category_id"] = 77
    content["annos_segmentation"][1]["category_id"] = 77
    content["annos_segmentation"][2]["image_id"] = 1000
    write(root, content["images"], content["annos_segmentation"])
    message = prepare_data("pascal_context", "--root", root)
    assert "category 77, which isn't one of the 59: annotations [1, 2]" in message
    assert "annotations of images that aren't in the file: [3]" in message
    write(root, content["images"], [])
    for name in ("2008_000003", "2008_000005"):
        (root / "JPEGImages" / f"{name}.jpg").unlink()
    message = prepare_data("pascal_context", "--root", root)
    assert "2 images are missing" in message
    assert "2008_000003.jpg" in message
    assert "2008_000005.jpg" in message
    (root / "trainval_merged.json").write_text("[1]")
    assert "isn't PASCAL in Detail's format" in prepare_data("pascal_context", "--root", root)
    (root / "trainval_merged.json").write_text("{")
    assert "not readable as JSON" in prepare_data("pascal_context", "--root", root)
    (root / "trainval_merged.json").unlink()
    said = "layout --data.name pascal_context_59` says where it comes from"
    assert said in prepare_data("pascal_context", "--root", root)
    assert not (root / "SegmentationClassContext").exists()
