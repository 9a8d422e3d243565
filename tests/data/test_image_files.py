"""What a folder holds, whoever reads it: compared with `find`, and reader by reader."""

import hashlib
import shutil
import subprocess
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from modeling_ocrnet import data
from modeling_ocrnet.data.image_files import image_files, is_hidden

NFC, NFD = (unicodedata.normalize(form, "über") for form in ("NFC", "NFD"))


def picture(path, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (12, 8)).save(path)


@pytest.fixture
def tree(tmp_path):
    """Pictures, what systems and tools leave beside them, and links: to a file, a folder, each other and nowhere."""
    root = tmp_path / "photos"
    shown = ("a.png", "B.JPG", "day/c.tiff", "day/deep/.d/no.png", "folder.png/e.webp", "_f.png", "g.h.png")
    hidden = (".x.png", ".ipynb_checkpoints/a.png", "__MACOSX/a.png", "day/.cache/y.png", "day/.DS_Store.png")
    for name in (*shown, *hidden):
        picture(root / name)
    (root / "._a.png").write_bytes(b"\0\5\26\7")
    (root / "notes.txt").write_text("no image")
    picture(tmp_path / "elsewhere" / "far.png")
    (root / "linked.png").symlink_to(tmp_path / "elsewhere" / "far.png")
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "day" / "back").symlink_to(root)
    (root / "itself").symlink_to("itself")
    (root / "nowhere.png").symlink_to("gone.png")
    return root


def test_a_folder_holds_what_find_finds(tree):
    """`find -L` follows links, and leaves a folder out that it is in already."""
    hidden = ["(", "-name", ".*", "-o", "-name", "__MACOSX", ")", "-prune", "-o"]
    suffixes = " -o ".join(f"-iname *.{x}" for x in ("png", "jpg", "tiff", "webp")).split()
    command = ["find", "-L", f"{tree}/", "-mindepth", "1", *hidden, "-not", "-type", "d", "(", *suffixes, ")", "-print"]
    found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    assert image_files(tree) == sorted(map(Path, found))
    assert len(found) == 9
    assert [x.name for x in image_files(tree / ".ipynb_checkpoints")] == ["a.png"]


def test_two_linked_folders_that_hold_each_other_end(tmp_path):
    for one, other in ("ab", "ba"):
        picture(tmp_path / one / f"{one}.png")
        (tmp_path / one / "link").symlink_to(tmp_path / other)
    names = [str(x.relative_to(tmp_path)) for x in image_files(tmp_path)]
    assert names == ["a/a.png", "a/link/b.png", "b/b.png", "b/link/a.png"]


@pytest.mark.parametrize(
    ("name", "hidden"), [("._x.jpg", True), ("__MACOSX", True), (".git", True), ("_x.jpg", False), ("x.y", False)]
)
def test_what_is_hidden(name, hidden):
    """By name, against a list written by hand."""
    assert is_hidden(name) == hidden


def own(root, image, mask):
    picture(root / "images" / image)
    picture(root / "masks" / mask, "L")
    (root / "classes.json").write_text('["a", "b"]')


def ade20k(root, image, mask):
    picture(root / "images" / "training" / Path(image).with_suffix(".jpg"))
    picture(root / "annotations" / "training" / mask, "L")


def camvid(root, image, mask):
    picture(root / "train" / Path(image).with_suffix(".png"))
    picture(root / "trainannot" / mask, "L")


def cityscapes(root, image, mask):
    picture(root / "leftImg8bit" / "train" / "a" / image.replace(".jpg", "_leftImg8bit.png"))
    picture(root / "gtFine" / "train" / "a" / mask.replace(".png", "_gtFine_labelIds.png"), "L")


READERS = {"folder": own, "ade20k": ade20k, "camvid": camvid, "cityscapes": cityscapes}


def load(name, root):
    return data.load(name, root, "all" if name == "folder" else "train")


@pytest.mark.parametrize("name", READERS)
def test_what_macos_leaves_in_a_dataset_is_no_pair(name, tmp_path):
    READERS[name](tmp_path, "x.jpg", "x.png")
    for path in [x for x in tmp_path.rglob("*") if x.is_file() and x.suffix in (".jpg", ".png")]:
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\26\7")
    (tmp_path / "more").mkdir()
    assert load(name, tmp_path)["name"] == ["x"]
    if name != "folder":
        assert list(data.published(name).find(tmp_path, "train").strays) == []


def test_a_hidden_city_is_none(tmp_path):
    for name in "xy":
        cityscapes(tmp_path, f"{name}.jpg", f"{name}.png")
    for kind in ("leftImg8bit", "gtFine"):
        shutil.copytree(tmp_path / kind / "train" / "a", tmp_path / kind / "train" / ".ipynb_checkpoints")
    assert load("cityscapes", tmp_path)["name"] == ["x", "y"]
    assert list(data.published("cityscapes").find(tmp_path, "train").strays) == []


@pytest.mark.parametrize("form", [NFC, NFD], ids=["nfc", "nfd"])
@pytest.mark.parametrize("name", READERS)
def test_a_mask_belongs_to_its_image_in_either_spelling(name, form, tmp_path):
    """And the row is called the same on every machine; what is opened is as the disk has it."""
    other = NFD if form == NFC else NFC
    READERS[name](tmp_path, f"{form}.jpg", f"{other}.png")
    rows = load(name, tmp_path)
    assert rows["name"] == [NFC]
    data.check(rows, labelled=True)
    files = rows.with_format(None)[0]
    assert form in Path(files["image"]["path"]).name
    assert other in Path(files["label"]["path"]).name
    if name != "folder":
        assert list(data.published(name).find(tmp_path, "train").strays) == []


@pytest.mark.parametrize("name", READERS)
def test_two_spellings_of_one_name_are_shown_apart(name, tmp_path):
    for form in (NFC, NFD):
        READERS[name](tmp_path, f"{form}.jpg", f"{form}.png")
    with pytest.raises(data.DataError, match=r"u\\u0308ber.*(its name without suffix is also that of )?'.*\\xfcber.*"):
        load(name, tmp_path)


def test_a_city_is_found_in_either_spelling(tmp_path):
    cityscapes(tmp_path, "x.jpg", "x.png")
    (tmp_path / "leftImg8bit" / "train" / "a").rename(tmp_path / "leftImg8bit" / "train" / NFC)
    (tmp_path / "gtFine" / "train" / "a").rename(tmp_path / "gtFine" / "train" / NFD)
    data.check(load("cityscapes", tmp_path), labelled=True)
    assert list(data.published("cityscapes").find(tmp_path, "train").strays) == []


@pytest.mark.parametrize("form", [NFC, NFD], ids=["nfc", "nfd"])
@pytest.mark.parametrize("listing", ["voc", "aug", "csv", "jsonl"])
def test_a_list_names_files_in_either_spelling(listing, form, tmp_path):
    """Folders too; and columns."""
    other = NFD if form == NFC else NFC
    if listing in ("voc", "aug"):
        picture(tmp_path / "JPEGImages" / f"{form}.jpg")
        picture(tmp_path / "SegmentationClass" / f"{form}.png", "L")
        lists = tmp_path / "ImageSets" / "Segmentation"
        lists.mkdir(parents=True)
        (lists / "train.txt").write_text(f"{other}\n", encoding="utf-8")
        (lists / "val.txt").write_text("elsewhere\n")
        (tmp_path / "sbd").mkdir()
        (tmp_path / "sbd" / "train.txt").write_text(f"{form}\n", encoding="utf-8")
        (tmp_path / "sbd" / "val.txt").write_text("elsewhere\n")
        rows, name = data.load("pascal_voc", tmp_path, "train" if listing == "voc" else "aug"), NFC
    else:
        for kind, mode in (("i.jpg", "RGB"), ("m.png", "L")):
            picture(tmp_path / form / f"{form}_{kind}", mode)
        (tmp_path / "classes.json").write_text('["a", "b"]')
        image, mask = (f"{other}/{other}_{kind}" for kind in ("i.jpg", "m.png"))
        text = f"{form},mask\n{image},{mask}\n" if listing == "csv" else f'{{"{form}": "{image}", "mask": "{mask}"}}\n'
        (tmp_path / f"train.{listing}").write_text(text, encoding="utf-8")
        source = data.DataSource("folder", str(tmp_path), image_column=other)
        rows, name = data.load(source, split="train"), f"{NFC}_{NFC}_i"
    assert rows["name"] == [name]
    data.check(rows, labelled=True)


def test_a_table_that_lists_one_file_in_two_spellings_is_refused(tmp_path):
    own(tmp_path, f"{NFC}.jpg", "m.png")
    rows = "".join(f"images/{form}.jpg,masks/m.png\n" for form in (NFC, NFD))
    (tmp_path / "train.csv").write_text("image,mask\n" + rows, encoding="utf-8")
    with pytest.raises(data.DataError, match="lists .* 2 times"):
        data.load("folder", tmp_path, "train")
    picture(tmp_path / "images" / f"{NFD}.jpg")
    with pytest.raises(data.DataError, match=r"2 images would have the name images_.*\\xfcber.*u\\u0308ber"):
        data.load("folder", tmp_path, "train")


def test_a_split_is_the_same_whatever_the_system_s_spelling(tmp_path):
    """By the share's definition, from names in NFC."""
    names = [f"{NFC}_{i}" for i in range(40)]
    for form in ("NFC", "NFD"):
        for x in names:
            own(tmp_path / form, unicodedata.normalize(form, f"{x}.jpg"), f"{x}.png")
    splits = [
        data.load(data.DataSource("folder", str(tmp_path / form), val_share=0.3), split="val")["name"][:]
        for form in ("NFC", "NFD")
    ]
    held_out = [x for x in sorted(names) if int(hashlib.sha256(x.encode()).hexdigest(), 16) < 0.3 * 2**256]
    assert splits == [held_out, held_out]
    assert 0 < len(held_out) < 40
