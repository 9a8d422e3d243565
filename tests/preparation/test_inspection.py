"""scripts/prepare_data.py inspect: every defect that is planted is reported, and what is counted is right."""

import base64
import io
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
import yaml
from PIL import Image

from modeling_ocrnet import data
from modeling_ocrnet.training.build import build_model
from modeling_ocrnet.training.recipe import ModelRecipe, Recipe

NAMES = data.label_set("camvid").names
SIZE = (18, 24)  # height, width


@pytest.fixture
def root(tmp_path):
    """CamVid's tree: eight, four and two frames, each of one colour; masks of all classes and void."""
    rng, root = np.random.default_rng(0), tmp_path / "Cam<Vid>"
    for split, count in (("train", 8), ("val", 4), ("test", 2)):
        for i in range(count):
            write(root, split, f"{split}_{i}", rng.integers(0, 12, SIZE), rng)
    return root


def write(root, split, name, mask, rng):
    color = np.broadcast_to(rng.integers(0, 256, 3), (*SIZE, 3))
    for folder, pixels in ((split, color), (f"{split}annot", mask)):
        (root / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(root / folder / f"{name}.png")


class Page(HTMLParser):
    """The text, the pictures and the addresses of a page; checks that its tags close in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.text, self.pictures, self.addresses = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "img"):
            self.open.append(tag)
        for key, value in attributes:
            if key in ("src", "href"):
                self.addresses.append(value)
        if tag == "img":
            self.pictures.append(dict(attributes))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data.strip())


def test_a_clean_tree(prepare_data, root, tmp_path, capsys):
    """Nothing is reported; shares against a count of the masks' pixels."""
    assert prepare_data("inspect", "camvid", "--root", root, "--output", tmp_path / "out") == 0
    printed = capsys.readouterr().out
    assert "train: 8 pairs, 24x18\n" in printed
    assert "0 errors\n0 warnings\n" in printed
    # shares and images, counted here file by file
    for name in NAMES:
        expected = []
        for split in ("train", "val", "test"):
            masks = [np.asarray(Image.open(x)) for x in sorted((root / f"{split}annot").iterdir())]
            labelled = sum((x != 11).sum() for x in masks)
            found = sum((x == NAMES.index(name)).sum() for x in masks)
            expected += [f"{100 * found / labelled:.3f}%", str(sum(NAMES.index(name) in x for x in masks))]
        assert re.search(rf"^{name} .*$", printed, re.M).group().split()[1:] == expected


def test_the_page(prepare_data, root, tmp_path):
    """It parses, has every class, escapes what it is given, needs nothing else; its pictures are the data's."""
    options = ("--root", root, "--output", tmp_path / "out", "--pictures", 3, "--class_weights", "median")
    assert prepare_data("inspect", "camvid", *options) == 0
    text = (tmp_path / "out" / "camvid.html").read_text()
    page = Page(text)
    assert set(NAMES) <= set(page.text)
    assert f"{root} · 11 classes" in page.text
    assert "<Vid>" not in text
    assert "<script" not in text
    assert all(x.startswith("data:image/jpeg;base64,") for x in page.addresses)
    expected = "train_0 train_2 train_5 val_0 val_1 val_2 test_0 test_1"
    assert [x["alt"] for x in page.pictures] == expected.split()
    for picture in page.pictures:
        decoded = Image.open(io.BytesIO(base64.b64decode(picture["src"].partition(",")[2]))).convert("RGB")
        assert decoded.size == (24 + 2 + 24, 18)  # image, gap, overlay
        file = root / picture["alt"].split("_")[0] / f"{picture['alt']}.png"
        difference = np.asarray(decoded, int)[:, :16] - np.asarray(Image.open(file), int)[:, :16]
        assert abs(difference).max() < 12  # that is JPEG's doing; other frames have other colours
    assert any(x.startswith("class_weights: [") for x in page.text)


def test_every_defect_is_reported(prepare_data, root, tmp_path, capsys):
    """All of them, also two in one pair, and each by its file's name."""
    rng = np.random.default_rng(1)
    train, masks = root / "train", root / "trainannot"
    (train / "train_0.png").write_bytes(b"no image")
    picture = (train / "train_1.png").read_bytes()
    (train / "train_1.png").write_bytes(picture[: len(picture) // 2])
    Image.fromarray(np.full(SIZE, 77, np.uint8)).save(masks / "train_1.png")
    (masks / "train_2.png").unlink()
    Image.fromarray(np.zeros((9, 12), np.uint8)).save(masks / "train_3.png")
    Image.fromarray(np.full((9, 12), 200, np.uint8)).save(masks / "train_4.png")
    Image.new("RGB", SIZE[::-1]).save(masks / "train_5.png")
    write(root, "train", "train_6", np.full(SIZE, 11), rng)
    write(root, "train", "train_7", np.full(SIZE, 3), rng)
    shutil.copy(root / "val" / "val_0.png", root / "test" / "test_0.png")
    shutil.copy(root / "val" / "val_2.png", root / "val" / "val_3.png")
    write(root, "test", "val_1", np.zeros(SIZE), rng)
    assert prepare_data("inspect", "camvid", "--root", root, "--output", tmp_path / "out") == 1
    lines = capsys.readouterr().out.splitlines()
    start, end = lines.index("9 errors"), lines.index("5 warnings")
    errors, warnings = lines[start + 1 : end], lines[end + 1 :]
    expected = [
        r"train: .*train/train_0.png: not a readable image",
        r"train: .*train/train_1.png: a damaged image",
        r"train: .*trainannot/train_1.png: holds the ids \[77\]",
        r"train: .*trainannot/train_2.png: there is no such file",
        r"train: .*trainannot/train_3.png: 12x9, but its image is 24x18",
        r"train: .*trainannot/train_4.png: holds the ids \[200\]",
        r"train: .*trainannot/train_4.png: 12x9, but its image is 24x18",
        r"train: .*trainannot/train_5.png: the mask has mode RGB",
        r"the same image in several splits: val/val_0, test/test_0",
    ]
    assert len(errors) == len(expected)
    for pattern in expected:
        assert re.search(pattern, "\n".join(errors)), pattern
    for pattern in (
        "train: train_6: no pixel is labelled",
        "train: train_7: only road is labelled",
        "test: val_1: only sky is labelled",
        "the same image several times: val/val_2, val/val_3",
        "val_1: different images of this name are in test, val",
    ):
        assert f"  {pattern}" in warnings
    page = " ".join(Page((tmp_path / "out" / "camvid.html").read_text()).text)
    for pattern in expected:
        assert re.search(pattern, page), pattern


def test_a_mask_without_an_image(prepare_data, root, scenes, tmp_path, capsys):
    """By folders of one split, and in Cityscapes' tree."""
    (root / "val" / "val_2.png").unlink()
    assert prepare_data("inspect", "camvid", "--root", root, "--output", tmp_path / "out") == 1
    assert f"1 errors\n  val: {root}/valannot/val_2.png: a mask without an image\n" in capsys.readouterr().out
    shutil.copytree(scenes, tmp_path / "scenes")
    image = next((tmp_path / "scenes" / "leftImg8bit" / "val").rglob("*.png"))
    image.unlink()
    options = ("--root", tmp_path / "scenes", "--splits", "val", "--output", tmp_path / "out")
    assert prepare_data("inspect", "cityscapes", *options) == 1
    stray = image.name.replace("leftImg8bit", "gtFine_labelIds")
    assert f"/gtFine/val/{image.parent.name}/{stray}: a mask without an image\n" in capsys.readouterr().out


def test_a_split_that_is_not_there_hides_no_other(prepare_data, root, tmp_path, capsys):
    shutil.rmtree(root / "val")
    (root / "trainannot" / "train_2.png").unlink()
    assert prepare_data("inspect", "camvid", "--root", root, "--output", tmp_path) == 1
    printed = capsys.readouterr().out
    assert "2 errors" in printed
    assert "val: not found" in printed
    assert "trainannot/train_2.png: there is no such file" in printed
    assert "holds no folder val" in printed


def test_a_split_without_labels(prepare_data, scenes, tmp_path, capsys):
    """Cityscapes' test: images are read, and none of its masks is missed."""
    (tmp_path / "leftImg8bit").mkdir()
    shutil.copytree(scenes / "leftImg8bit" / "val", tmp_path / "leftImg8bit" / "test")
    options = ("--root", tmp_path, "--splits", "test", "--output", tmp_path / "out", "--pictures", 2)
    assert prepare_data("inspect", "cityscapes", *options) == 0
    assert "test: 3 pairs, without labels, 128x64" in capsys.readouterr().out
    assert len(Page((tmp_path / "out" / "cityscapes.html").read_text()).pictures) == 2


def test_limit_is_spread_evenly(prepare_data, root, tmp_path, capsys):
    """Four of eight: the even ones, so a defect in an odd one goes unseen."""
    (root / "trainannot" / "train_3.png").unlink()
    (root / "trainannot" / "train_4.png").unlink()
    options = ("--root", root, "--splits", "train", "--limit", 4, "--output", tmp_path)
    assert prepare_data("inspect", "camvid", *options) == 1
    printed = capsys.readouterr().out
    assert "train: 8 pairs, 4 read, 1 with problems" in printed
    assert "train_3" not in printed


def test_class_weights_build_in_a_recipe(prepare_data, root, tmp_path, capsys):
    """The line that is printed, as YAML, is a field of a recipe's model; rare classes weigh more."""
    write(root, "train", "train_0", np.zeros(SIZE), np.random.default_rng(3))
    options = ("--root", root, "--output", tmp_path, "--class_weights", "0.5", "--splits", "train")
    prepare_data("inspect", "camvid", *options)
    line = re.search(r"^  (class_weights: .*)$", capsys.readouterr().out, re.M).group(1)
    fields = yaml.safe_load(line)
    recipe = Recipe(model=ModelRecipe(variant="hr18s", backbone=None, config=fields))
    model = build_model(recipe, data.label_set("camvid"))
    assert model.config.class_weights == fields["class_weights"]
    assert min(fields["class_weights"]) == fields["class_weights"][0]  # sky fills a mask


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["camvid", "--splits", "train,holdout"], "split 'holdout' is unknown; expected one of train, val, test"),
        (["camvid", "--limit", "0"], "--limit must be at least 1, got 0"),
    ],
)
def test_bad_arguments_end_in_one_line(prepare_data, argv, message, tmp_path):
    code = prepare_data("inspect", *argv, "--root", tmp_path, "--output", tmp_path / "out")
    assert message in code
    assert "\n" not in code
    assert not (tmp_path / "out").exists()
