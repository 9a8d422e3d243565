"""Proposed classes have the names of a published dataset if the colours of the masks are its own."""

import json

import numpy as np
import pytest
from helpers.own_data import labels_of, pair, source
from PIL import Image

from modeling_ocrnet import data
from modeling_ocrnet.data.datasets import published
from modeling_ocrnet.data.datasets.camvid import ORIGINAL
from modeling_ocrnet.data.known_palettes import recognise

# CamVid's 32 colours, each with the class of the 11 that it belongs to
CAMVID = """128 128 128 Sky sky|128 0 0 Building building|192 0 128 Archway building|0 128 64 Bridge building|
64 0 64 Tunnel building|64 192 0 Wall building|192 192 128 Column_Pole pole|0 0 64 TrafficCone pole|
128 64 128 Road road|128 0 192 LaneMkgsDriv road|192 0 64 LaneMkgsNonDriv road|0 0 192 Sidewalk pavement|
64 192 128 ParkingBlock pavement|128 128 192 RoadShoulder pavement|128 128 0 Tree tree|192 192 0 VegetationMisc tree|
192 128 128 SignSymbol sign|128 128 64 Misc_Text sign|0 64 64 TrafficLight sign|64 64 128 Fence fence|
64 0 128 Car car|128 64 64 OtherMoving car|64 128 192 SUVPickupTruck car|192 64 128 Train car|192 128 192 Truck_Bus car|
64 64 0 Pedestrian pedestrian|64 128 64 Animal pedestrian|64 0 192 CartLuggagePram pedestrian|
192 128 64 Child pedestrian|0 128 192 Bicyclist bicyclist|192 0 192 MotorcycleScooter bicyclist|0 0 0 Void void"""
ROWS = [(tuple(map(int, x.split()[:3])), *x.split()[3:]) for x in CAMVID.split("|")]
BLACK, WHITE = (0, 0, 0), (255, 255, 255)
ROAD, SIDEWALK, SKY, TERRAIN = (128, 64, 128), (244, 35, 232), (70, 130, 180), (152, 251, 152)  # of Cityscapes
GROUND, CAR = (81, 0, 81), (0, 0, 142)
PLANE, BICYCLE, BIRD, BOUNDARY = (128, 0, 0), (0, 128, 0), (128, 128, 0), (224, 224, 192)  # of PASCAL VOC


@pytest.fixture
def root(tmp_path):
    (tmp_path / "own").mkdir()
    return tmp_path / "own"


def proposal(root):
    """The text, and the file that it proposes."""
    with pytest.raises(data.DataError, match="there is no such file") as caught:
        data.label_set("folder", root)
    message = str(caught.value)
    text = message[message.index("\n{") : message.rindex("\n}") + 2]
    (root / "classes.json").write_text(text)
    return message, json.loads(text)


def picture(colors, seed=0):
    """(24, 32, 3) uint8 of these colours, each of which occurs."""
    indices = np.random.default_rng(seed).permutation(np.arange(24 * 32) % len(colors)).reshape(24, 32)
    return np.array(colors, np.uint8)[indices]


def write(root, pixels):
    image = np.zeros(np.asarray(pixels).shape[:2], np.uint8)
    pair(root, pixels=pixels)
    Image.fromarray(image).convert("RGB").save(root / "images/train/a.jpg")


def test_the_table_of_camvid_is_the_datasets():
    """32 different colours; the first of each group is the colour of the published class."""
    assert [(c, n, g) for g, group in ORIGINAL.items() for n, c in group.items()] == ROWS
    assert len({x for x, *_ in ROWS}) == 32
    labels = published("camvid").labels.labels
    assert {x.name: x.color for x in labels} == {name: next(iter(x.values())) for name, x in ORIGINAL.items()}


def test_camvids_colours_become_its_classes(root):
    """The proposal can be saved as it is; every colour is read as the class that its table gives."""
    write(root, picture([x for x, *_ in ROWS]))
    message, content = proposal(root)
    assert "the colours are those of CamVid: names are filled in, and its original colours are joined" in message
    assert "color [64, 128, 64]: 3.12 % of the pixels, in 1 of 1 masks: Animal\n" in message
    assert content["classes"][-1] == {"name": "void", "color": [0, 0, 0], "ignore": True}
    (labels,) = labels_of(source(root))
    names = [*data.label_set("folder", root).names]
    assert names == list(published("camvid").labels.names)
    pixels = np.asarray(Image.open(root / "masks/train/a.png"))
    for color, _, name in ROWS:
        expected = names.index(name) if name != "void" else 255
        assert (labels[(pixels == color).all(2)] == expected).all()


def test_the_eleven_colours_alone(root):
    """One colour for each class; a class without a pixel isn't listed; what the sample lacks is ignored already."""
    main = [ROWS[0][0], ROWS[1][0], ROWS[6][0], ROWS[8][0], ROWS[20][0]]
    write(root, picture(main))
    message, content = proposal(root)
    assert "the colours are those of CamVid: names are filled in\n" in message
    assert content["classes"] == [
        {"name": name, "color": list(color)}
        for name, color in zip(["sky", "building", "pole", "road", "car"], main, strict=True)
    ]
    assert content["ignore_colors"] == [[0, 0, 0]]
    assert len(np.unique(labels_of(source(root))[0])) == 5


def test_stray_colours_keep_a_number_and_their_share_is_told(root):
    pixels = np.full((20, 50, 3), ROAD, np.uint8)
    pixels[:5], pixels[5:9], pixels[9:12] = SIDEWALK, SKY, GROUND
    pixels[19, :10], pixels[19, 10:14] = (1, 2, 3), BLACK
    write(root, pixels)
    message, content = proposal(root)
    assert "those of Cityscapes, except 1 on 1.00 % of the pixels: names are filled in" in message
    assert [x["name"] for x in content["classes"]] == ["road", "sidewalk", "sky", "class 1", "unlabeled", "ground"]
    assert [x.get("ignore", False) for x in content["classes"]] == [False] * 4 + [True] * 2
    labels = data.label_set("folder", root)
    assert labels.names == ("road", "sidewalk", "sky", "class 1")
    assert np.bincount(labels_of(source(root))[0].ravel(), minlength=256)[[0, 1, 2, 3, 255]].tolist() == [
        1000 - 250 - 200 - 150 - 14,
        250,
        200,
        10,
        154,
    ]


# colours with their pixels, and what they are taken for
FOUND = {
    "three": ({ROAD: 1, SIDEWALK: 1, SKY: 1}, "Cityscapes"),
    "two": ({ROAD: 1, SIDEWALK: 1}, None),
    "two, black and white": ({ROAD: 1, SIDEWALK: 1, BLACK: 9, WHITE: 9}, None),
    "black and white": ({BLACK: 9, WHITE: 9}, None),
    "nothing": ({}, None),
    "three, and white on most pixels": ({ROAD: 1, SIDEWALK: 1, SKY: 1, WHITE: 99}, "Cityscapes"),
    "5 % in another colour": ({ROAD: 50, SIDEWALK: 30, SKY: 10, CAR: 5, (1, 2, 3): 5}, "Cityscapes"),
    "6 % in another colour": ({ROAD: 50, SIDEWALK: 30, SKY: 10, CAR: 4, (1, 2, 3): 6}, None),
    "one other for three": ({ROAD: 50, SIDEWALK: 30, SKY: 19, (1, 2, 3): 1}, None),
    "rare ones, many": ({ROAD: 5000, SIDEWALK: 4000, SKY: 990, **{(1, 2, i): 1 for i in range(9)}}, "Cityscapes"),
    "ignored ones only": ({GROUND: 1, (111, 74, 0): 1, (230, 150, 140): 1, (250, 170, 160): 1}, None),
    "a tool's colour map": ({BLACK: 5, PLANE: 1, BICYCLE: 1, BIRD: 1}, None),
    "the map and CamVid alike": ({BLACK: 5, PLANE: 1, BIRD: 1, (128, 128, 128): 1, (64, 0, 128): 1}, None),
    "VOC's boundary": ({BLACK: 5, PLANE: 1, BICYCLE: 1, BOUNDARY: 1}, "PASCAL VOC"),
    "neighbours": ({(128, 64, 129): 1, (244, 35, 233): 1, (70, 130, 181): 1, (0, 0, 143): 1}, None),
}


@pytest.mark.parametrize("kind", FOUND)
def test_the_rule(kind):
    found, title = FOUND[kind]
    palette = recognise(found)
    assert (palette and palette.title) == title


@pytest.mark.parametrize("name", ["cityscapes", "camvid"])
def test_published_palettes_are_recognised_and_random_ones_are_not(name):
    labels = published(name).labels
    assert recognise({x.color: 1 for x in labels.labels}).title == published(name).title
    rng = np.random.default_rng(0)
    for _ in range(50):
        assert recognise({tuple(x): 5 for x in rng.integers(0, 256, (12, 3)).tolist()}) is None


def of_palette(indices, colors):
    made = Image.fromarray(indices, mode="P")
    made.putpalette([x for color in colors for x in color])
    return made


def test_the_colours_of_a_palette_file(root):
    """They name its indices. Indices of the same colour can't be named by it."""
    indices = (np.arange(96) % 5).astype(np.uint8).reshape(8, 12)
    write(root, of_palette(indices, [ROAD, GROUND, SKY, TERRAIN, TERRAIN]))
    message, content = proposal(root)
    assert "the colours are those of Cityscapes: names are filled in" in message
    assert content["classes"] == [
        {"name": "road", "id": 0, "color": list(ROAD)},
        {"name": "ground", "id": 1, "color": list(GROUND), "ignore": True},
        {"name": "sky", "id": 2, "color": list(SKY)},
        {"name": "class 3", "id": 3, "color": list(TERRAIN)},
        {"name": "class 4", "id": 4, "color": list(TERRAIN)},
    ]
    assert np.array_equal(labels_of(source(root))[0], np.array([0, 255, 1, 2, 3], np.uint8)[indices])


def test_vocs_boundary_is_in_ignore_ids(root):
    indices = np.array([0, 1, 3, 255], np.uint8)[np.arange(96) % 4].reshape(8, 12)
    write(root, of_palette(indices, [BLACK, PLANE, BICYCLE, BIRD, *[BLACK] * 251, BOUNDARY]))
    _, content = proposal(root)
    assert [(x["id"], x["name"]) for x in content["classes"]] == [(0, "background"), (1, "aeroplane"), (3, "bird")]
    assert content["ignore_ids"] == [255]


def test_ids_and_palettes_that_disagree_name_nothing(root):
    indices = (np.arange(96) % 4).astype(np.uint8).reshape(8, 12)
    for other in (indices, of_palette(indices, [SIDEWALK, ROAD, SKY, TERRAIN])):
        write(root, of_palette(indices, [ROAD, SIDEWALK, SKY, TERRAIN]))
        pair(root, "images/train/b.jpg", "masks/train/b.png", other)
        (root / "classes.json").unlink(missing_ok=True)
        message, content = proposal(root)
        assert "the colours are" not in message
        assert [x["name"] for x in content["classes"]] == [f"class {i}" for i in range(4)]
