"""The synthetic street scenes: their files, their labels, and that the same arguments give the same bytes."""

import hashlib
import json
import os

import numpy as np
import pytest
from PIL import Image, ImageDraw

from modeling_ocrnet.data import label_set
from modeling_ocrnet.data.labels import IGNORE
from street_scenes import draw_scene, write_street_scenes
from street_scenes.labels import LABELS

CITYSCAPES = label_set("cityscapes")
SIZE = (128, 256)


def write(root, **changes):
    write_street_scenes(root, **{"train": 3, "val": 2, "size": SIZE, "seed": 5, **changes})
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write(tmp_path_factory.mktemp("scenes") / "root")


def hashes(root):
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def read(root, split, ending, folder="gtFine"):
    """The images of a split by scene name."""
    files = sorted((root / folder / split).rglob(f"*_{ending}.png"))
    return {path.name[: -len(f"_{folder}_{ending}.png")]: Image.open(path) for path in files}


def rasterise(scene, values):
    """An image (H, W) of one value per object."""
    image = Image.new("I", scene.image.shape[1::-1], 0)
    for thing, value in zip(scene.objects, values, strict=True):
        ImageDraw.Draw(image).polygon(thing.polygon.ravel().tolist(), fill=value)
    return np.asarray(image)


def test_the_labels_have_cityscapes_numbers():
    theirs = {x.name: (x.id, x.color, x.has_instances) for x in CITYSCAPES.labels}
    assert theirs.items() >= {name: tuple(label) for name, label in LABELS.items()}.items()
    assert set(CITYSCAPES.names) <= set(LABELS)


def test_tree(root):
    """Names, modes and polygons against Cityscapes' layout."""
    for split, count in (("train", 3), ("val", 2)):
        pictures = sorted((root / "leftImg8bit" / split).rglob("*.png"))
        assert len(pictures) == count
        for picture in pictures:
            city, sequence, frame = picture.name.removesuffix("_leftImg8bit.png").split("_")
            assert picture.parent.name == city
            assert len(sequence) == len(frame) == 6
            labels = root / "gtFine" / split / city / f"{city}_{sequence}_{frame}_gtFine"
            modes = {"labelIds": "L", "instanceIds": "I;16", "color": "RGB"}
            for ending, mode in modes.items():
                with Image.open(f"{labels}_{ending}.png") as image:
                    assert (image.mode, image.size) == (mode, (256, 128))
            with Image.open(picture) as image:
                assert (image.mode, image.size) == ("RGB", (256, 128))
            polygons = json.loads(labels.with_name(labels.name + "_polygons.json").read_text())
            assert (polygons["imgHeight"], polygons["imgWidth"]) == SIZE
            points = np.concatenate([item["polygon"] for item in polygons["objects"]])
            assert points.min() >= 0
            assert (points.max(0) < (256, 128)).all()
    assert sum(path.is_file() for path in root.rglob("*")) == 5 * 5 + 1


def test_splits_share_no_city_and_no_scene(root):
    cities = [{path.name for path in (root / "gtFine" / split).iterdir()} for split in ("train", "val")]
    assert not cities[0] & cities[1]
    scenes = [path.read_bytes() for path in (root / "leftImg8bit").rglob("*.png")]
    assert len(set(scenes)) == 5


def test_same_bytes(root, tmp_path):
    again = hashes(write(tmp_path / "again"))
    assert again == hashes(root)
    other = hashes(write(tmp_path / "other", seed=6))
    assert other.keys() == again.keys()
    assert all(other[name] != again[name] for name in again if name.endswith("leftImg8bit.png"))


def test_a_scene_depends_on_its_number_alone(root, tmp_path):
    fewer, all_ = hashes(write(tmp_path / "fewer", train=1, val=1)), hashes(root)
    del fewer["scenes.json"]
    assert len(fewer) == 2 * 5
    assert fewer.items() <= all_.items()


def test_masks_are_what_cityscapes_makes_of_the_polygons(root):
    annotation = pytest.importorskip("cityscapesscripts.helpers.annotation")
    label_images = pytest.importorskip("cityscapesscripts.preparation.json2labelImg")
    instance_images = pytest.importorskip("cityscapesscripts.preparation.json2instanceImg")
    files = sorted(root.rglob("*_polygons.json"))
    assert len(files) == 5
    for file in files:
        polygons = annotation.Annotation()
        polygons.fromJsonFile(str(file))
        expected = {
            "labelIds": label_images.createLabelImage(polygons, "ids"),
            "color": label_images.createLabelImage(polygons, "color").convert("RGB"),
            "instanceIds": instance_images.createInstanceImage(polygons, "ids"),  # saving it fails in Pillow >= 13
        }
        for ending, image in expected.items():
            written = Image.open(str(file).replace("polygons.json", f"{ending}.png"))
            np.testing.assert_array_equal(np.asarray(written), np.asarray(image), err_msg=f"{file} {ending}")


def test_instances_agree_with_labels(root):
    things = {label.id for label in CITYSCAPES.labels if label.has_instances}
    labels, instances = read(root, "train", "labelIds"), read(root, "train", "instanceIds")
    assert labels.keys() == instances.keys()
    assert len(labels) == 3
    seen = set()
    for name in labels:
        ids, numbers = np.asarray(labels[name]).astype(int), np.asarray(instances[name]).astype(int)
        counted = np.isin(ids, list(things))
        np.testing.assert_array_equal(numbers[~counted], ids[~counted])
        np.testing.assert_array_equal(numbers[counted] // 1000, ids[counted])
        seen |= set(numbers[counted].tolist())
    assert len(seen) > 3


@pytest.mark.slow
def test_sixty_scenes_show_the_classes():
    """Every pixel is labelled, the classes are all there, and each is frequent enough to be learnt."""
    ids = {label.name: label.id for label in CITYSCAPES.labels}
    scenes = np.zeros(256)
    pixels = np.zeros(256)
    for i in range(60):
        scene = draw_scene(np.random.default_rng(np.random.SeedSequence([0, 1, i])), (64, 128))
        labels = rasterise(scene, [ids[thing.label] for thing in scene.objects])
        counts = np.bincount(labels.ravel(), minlength=256)
        assert counts[0] == 0, f"scene {i} has pixels without a label"
        scenes += counts > 0
        pixels += counts
    known = CITYSCAPES.to_train_ids
    assert (known[np.flatnonzero(pixels)] >= 0).all()
    trained = np.array([label.id for label in CITYSCAPES.trained])
    assert (scenes[trained] >= 3).sum() >= 16
    assert (scenes[trained] >= 1).sum() == 19
    assert pixels[known == IGNORE].sum() < 0.06 * pixels.sum()
    assert pixels[trained].max() < 0.4 * pixels.sum()


def test_the_picture_follows_the_labels():
    """Things are painted through their label's mask: across a label's edge the picture changes more than elsewhere."""
    inside, across = [], []
    for i in range(6):
        scene = draw_scene(np.random.default_rng(i), (128, 256))
        owner, picture = rasterise(scene, range(len(scene.objects))), scene.image.astype(float)
        step = np.abs(np.diff(picture, axis=1)).mean(2)
        edge = np.diff(owner, axis=1) != 0
        across.append(step[edge].mean())
        inside.append(step[~edge].mean())
    assert np.mean(across) > 2.0 * np.mean(inside)


@pytest.mark.parametrize("size", [(96, 320), (512, 1024)])
def test_other_sizes(size):
    """The picture and its polygons fill the size that was asked for."""
    scene = draw_scene(np.random.default_rng(3), size)
    assert scene.image.shape == (*size, 3)
    assert scene.image.dtype == np.uint8
    assert scene.image.std() > 10
    corners = np.concatenate([thing.polygon for thing in scene.objects])
    assert corners.min() == 0
    assert tuple(corners.max(0)) == (size[1] - 1, size[0] - 1)


def test_marker(root):
    """The file that says how a tree was drawn holds the arguments."""
    marker = json.loads((root / "scenes.json").read_text())
    assert isinstance(marker.pop("version"), int)
    assert marker == {"train": 3, "val": 2, "size": [128, 256], "seed": 5}


def test_written_scenes_are_left_alone(tmp_path):
    root = write(tmp_path / "root", train=1, val=1)
    before = {path: os.stat(path).st_mtime_ns for path in root.rglob("*")}
    write(root, train=1, val=1)
    assert {path: os.stat(path).st_mtime_ns for path in root.rglob("*")} == before


@pytest.mark.parametrize("changes", [{"seed": 9}, {"train": 2}, {"val": 2}, {"size": (64, 128)}])
def test_a_folder_of_other_scenes_is_an_error(tmp_path, changes):
    root = write(tmp_path / "root", train=1, val=1)
    before = hashes(root)
    with pytest.raises(FileExistsError, match="remove the folder") as error:
        write(root, **{"train": 1, "val": 1, **changes})
    assert str(root) in str(error.value)
    assert "\n" not in str(error.value)
    assert hashes(root) == before


@pytest.mark.parametrize("content", [None, "{}", "no json"])
def test_a_folder_of_something_else_is_an_error(tmp_path, content):
    root = tmp_path / "root"
    root.mkdir()
    if content is not None:
        (root / "scenes.json").write_text(content)
    with pytest.raises(FileExistsError, match="remove the folder"):
        write(root)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["root"]
    assert [path.name for path in root.iterdir()] == ([] if content is None else ["scenes.json"])


def test_nothing_is_left_behind_when_it_fails(tmp_path, monkeypatch):
    from street_scenes import writing

    def fail(*_):
        raise RuntimeError("disk full")

    monkeypatch.setattr(writing, "_masks", fail)
    with pytest.raises(RuntimeError, match="disk full"):
        write(tmp_path / "root")
    assert list(tmp_path.iterdir()) == []
