"""PASCAL-Context's annotations that lie, and trees whose links would have their masks written elsewhere."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.corrupt_files import DEEP, picture
from PIL import Image

from modeling_ocrnet.preparation.run_lengths import region_mask


@pytest.fixture
def context(place):
    """PASCAL-Context's tree with one image of 16x12 pixels; `write(...)` its annotations."""
    root = place.input / "VOC2010"
    (root / "JPEGImages").mkdir(parents=True)
    (root / "JPEGImages" / "x.jpg").write_bytes(picture("JPEG"))

    def write(image=None, region=None, segmentation=None, content: bytes | None = None) -> Path:
        held = {"size": [12, 16], "counts": [0, 12 * 16]} if segmentation is None else segmentation
        regions = [{"id": 1, "image_id": 1, "category_id": 2, "segmentation": held, **(region or {})}]
        images = [{"image_id": 1, "file_name": "x.jpg", "phase": "val", "height": 12, "width": 16, **(image or {})}]
        merged = json.dumps({"images": images, "annos_segmentation": regions}).encode()
        (root / "trainval_merged.json").write_bytes(merged if content is None else content)
        return root

    return write


@pytest.mark.parametrize(
    "annotations",
    [
        {"image": {"file_name": "../../../precious.jpg"}},
        {"image": {"file_name": "/etc/passwd"}},
        {"image": {"file_name": 7}},
        {"image": {"file_name": "x\0.jpg"}},
        {"image": {"height": 10**6, "width": 10**6}},
        {"image": {"height": -12}},
        {"image": {"height": "12"}},
        {"image": {"image_id": [1]}},
        {"region": {"category_id": {}}},
        {"region": {"segmentation": None}},
        {"segmentation": {"size": [12, 16], "counts": [2**62] * 4 + [192]}},
        {"segmentation": {"size": [12, 16], "counts": [2**70]}},
        {"segmentation": {"size": [12, 16], "counts": ["a"]}},
        {"segmentation": {"size": [12, 16], "counts": [[192]]}},
        {"segmentation": {"size": 7, "counts": [192]}},
        {"segmentation": {"size": [12, 16], "counts": "\ud800"}},
        {"segmentation": {"size": [12, 16], "counts": "o" * 40}},
        {"segmentation": [[0, 0, 1]]},
        {"segmentation": ["x"]},
        {"segmentation": [{"a": 1}]},
        {"content": b"[]"},
        {"content": b'{"images": 7, "annos_segmentation": []}'},
        {"content": DEEP},
        {"content": b'{"images": ['},
        {"content": b"\xff\xfe"},
    ],
    ids=lambda x: str(x)[:60].encode("ascii", "backslashreplace").decode(),
)
def test_annotations_that_lie(annotations, context, place, script):
    root = context(**annotations)
    place.begin()
    place.output = root  # masks are written beside the images: only there
    place.before = place._state()
    assert script("prepare_data", "pascal_context", "--root", root, "--workers", "1", code=(1,)).strip()
    assert not list(root.glob("SegmentationClassContext/*"))
    assert not list(root.glob("ImageSets/*/*"))


@pytest.mark.parametrize("link", ["SegmentationClassContext", "ImageSets/SegmentationContext", "ImageSets"])
def test_a_tree_whose_folders_lead_outside(link, context, place, script):
    """An unpacked archive may hold links: what is made from it must stay beside it."""
    root = context()
    (place.root / "elsewhere").mkdir()
    (root / link).parent.mkdir(exist_ok=True)
    (root / link).symlink_to(place.root / "elsewhere")
    place.begin()
    place.output = root
    place.before = place._state()
    said = script("prepare_data", "pascal_context", "--root", root, code=(1,))
    assert "outside of" in said
    assert not list((place.root / "elsewhere").iterdir())


def test_a_link_in_place_of_a_part_is_not_followed(context, place, script):
    root = context()
    for part in ("SegmentationClassContext/.x.png.part", "ImageSets/SegmentationContext/.val.txt.part"):
        (root / part).parent.mkdir(parents=True)
        (root / part).symlink_to(place.root / "precious.txt")
    place.begin()
    place.output = root
    place.before = place._state()
    script("prepare_data", "pascal_context", "--root", root, code=(0,))
    assert np.unique(np.asarray(Image.open(root / "SegmentationClassContext" / "x.png"))).tolist() == [1]


def test_run_lengths_agree_with_a_worked_example(place):
    """Columns from the left: three pixels outside, two inside, one outside of 2x3."""
    place.begin()
    mask = region_mask({"size": [2, 3], "counts": [3, 2, 1]}, 2, 3)
    np.testing.assert_array_equal(mask, [[False, False, True], [False, True, False]])
