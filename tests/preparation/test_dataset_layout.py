"""ocrnet data layout: where datasets come from, and what is missing of a tree with holes."""

import re
import shutil

import pytest
from PIL import Image

from modeling_ocrnet import data


@pytest.fixture
def small(monkeypatch):
    """A dataset's published numbers, made as small as a test's tree."""

    def publish(name, **images):
        for split, count in images.items():
            monkeypatch.setitem(data.published(name).images, split, count)

    return publish


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4)).save(path)


@pytest.fixture
def voc(tmp_path, small):
    """VOC 2012 with three images to train on and two for validation, below VOCdevkit/VOC2012."""
    small("pascal_voc", train=3, val=2)
    root = tmp_path / "VOCdevkit" / "VOC2012"
    for split, names in (("train", "abc"), ("val", "de")):
        for name in names:
            touch(root / "JPEGImages" / f"{name}.jpg")
            touch(root / "SegmentationClass" / f"{name}.png")
        lists = root / "ImageSets" / "Segmentation"
        lists.mkdir(parents=True, exist_ok=True)
        (lists / f"{split}.txt").write_text("\n".join(names))
    return root


def missing(printed: str) -> list[str]:
    return [line.split("MISSING  ")[1] for line in printed.splitlines() if "MISSING" in line]


def test_all_datasets_are_listed(prepare_data, capsys):
    """With the numbers that their publications give."""
    assert prepare_data("layout") == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert set(lines) == {"dataset", *data.DATASETS}
    assert re.search("train 2975 [+] val 500 [+] test 1525  +11 GB  +non-commercial", lines["cityscapes"])
    assert "aug 10582" in lines["pascal_voc"]
    assert "train 118287 + val 5000" in lines["coco_stuff_164k"]
    assert "cc-by-nc-4.0" in lines["camvid"]


@pytest.mark.parametrize("name", data.DATASETS)
def test_each_is_described(prepare_data, name, capsys):
    """Its address, terms, and a tree that names what it looks for."""
    assert prepare_data("layout", name) == 0
    printed = capsys.readouterr().out
    assert f"{len(data.label_set(name).names)} classes" in printed
    assert "  from  " in printed
    assert "  licence  " in printed
    assert data.published(name).default_root in printed


def test_a_whole_tree(prepare_data, voc, capsys):
    """Also from above, where the dataset finds it."""
    for root in (voc, voc.parent, voc.parents[1]):
        assert prepare_data("layout", "pascal_voc", "--root", root, "--splits", "train,val") == 0
        printed = capsys.readouterr().out
        assert missing(printed) == []
        assert f"found    {voc}/JPEGImages" in printed
        assert "train: 3 images, 3 are published\n  train: 3 masks, 3 are published" in printed


def test_holes(prepare_data, voc, capsys):
    """A list, two images and a mask are missing, and an image isn't even listed: each is said."""
    (voc / "ImageSets" / "Segmentation" / "train.txt").write_text("a\nb")
    (voc / "ImageSets" / "Segmentation" / "val.txt").unlink()
    (voc / "JPEGImages" / "a.jpg").unlink()
    (voc / "JPEGImages" / "b.jpg").unlink()
    (voc / "SegmentationClass" / "b.png").unlink()
    assert prepare_data("layout", "pascal_voc", "--root", voc, "--splits", "train,val") == 1
    printed = capsys.readouterr().out
    lists = voc / "ImageSets" / "Segmentation"
    assert missing(printed) == [
        f"{lists}/val.txt: one name per line",
        f"train: {voc}/JPEGImages/a.jpg and 1 more",
        "train: 1 of the 3 images published",
        f"train: {voc}/SegmentationClass/b.png",
        "train: 1 of the 3 masks published",
        f"val: {lists}/val.txt: there is no such file; it lists the images of the split",
    ]
    assert "train: 0 images, 3 are published\n  train: 1 masks, 3 are published" in printed


def test_sbd_is_missed_where_aug_is_wanted(prepare_data, voc, capsys):
    assert prepare_data("layout", "pascal_voc", "--root", voc, "--splits", "aug") == 1
    assert missing(capsys.readouterr().out)[0] == f"{voc}/sbd/cls: SBD: *.mat"


def test_cityscapes_without_its_annotations(prepare_data, scenes, tmp_path, small, capsys):
    small("cityscapes", train=10, val=3)
    shutil.copytree(scenes, tmp_path / "all")
    options = ("--root", tmp_path / "all", "--splits", "train,val")
    assert prepare_data("layout", "cityscapes", *options) == 0
    shutil.rmtree(tmp_path / "all" / "gtFine" / "val")
    capsys.readouterr()
    assert prepare_data("layout", "cityscapes", *options) == 1
    folder, mask = missing(capsys.readouterr().out)
    assert folder.startswith(f"{tmp_path}/all/gtFine/val: val/<city>/")
    assert mask.endswith("_gtFine_labelIds.png and 2 more")


def test_a_wrong_root(prepare_data, scenes, tmp_path, capsys):
    """What the dataset advises is passed on, once; nothing is drawn where street scenes aren't."""
    assert prepare_data("layout", "cityscapes", "--root", scenes.parent) == 1
    printed = capsys.readouterr().out
    assert printed.count(f"the root is one folder too high: give {scenes}") == 1
    assert prepare_data("layout", "street_scenes", "--root", tmp_path / "none") == 1
    assert missing(capsys.readouterr().out) == [f"{tmp_path}/none: there is no such folder"]
    assert not (tmp_path / "none").exists()
    assert "split '2012' is unknown" in prepare_data("layout", "pascal_voc", "--splits", "2012")


def test_pascal_context_says_what_makes_its_masks(prepare_data, tmp_path, capsys):
    (tmp_path / "JPEGImages").mkdir()
    assert prepare_data("layout", "pascal_context_59", "--root", tmp_path) == 1
    printed = capsys.readouterr().out
    assert f"found    {tmp_path}/JPEGImages" in printed
    assert f"{tmp_path}/SegmentationClassContext: *.png, made by this project" in missing(printed)
    assert re.search("then  .*ocrnet data pascal_context --data.root <root>", printed)


def test_own_data_has_no_published_layout(prepare_data):
    assert "layout is for published datasets" in prepare_data("layout", "folder")
