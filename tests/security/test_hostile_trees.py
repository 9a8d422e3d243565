"""Names, links, tables and archives that point elsewhere or claim what isn't so."""

import json

import pytest
from helpers.corrupt_files import DEEP, FRAME, MASK, ZIPS, Defect, picture, png, zipped

from modeling_ocrnet import data
from modeling_ocrnet.data.decoding import DataError

OUTSIDE = ["../../precious", "/tmp/precious", "a/../../../precious"]


@pytest.fixture
def voc(place):
    """PASCAL VOC's tree; its list names the image `x`."""
    root = place.input / "VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    (root / "JPEGImages" / "x.jpg").write_bytes(picture("JPEG"))
    (root / "SegmentationClass" / "x.png").write_bytes(picture(mode="L"))
    (root / "ImageSets" / "Segmentation" / "val.txt").write_text("x\n")
    return root


@pytest.mark.parametrize("entry", ["load", "inspect", "layout", "evaluate", "export"])
@pytest.mark.parametrize("name", OUTSIDE)
def test_a_list_of_names_that_lead_outside(name, entry, voc, place, script, checkpoint):
    """Predictions are called after their images: `../../x` would write two folders up."""
    (voc / "ImageSets" / "Segmentation" / "val.txt").write_text(f"x\n{name}\n")
    (place.root / "precious.png").write_bytes(MASK)
    place.begin()
    where = ("pascal_voc", "--root", voc)
    if entry == "load":
        with pytest.raises(DataError, match="images have invalid names"):
            data.load("pascal_voc", voc, "val")
    elif entry == "inspect":
        assert "images have invalid names" in script("prepare_data", "inspect", *where, "--splits", "val", code=(1,))
    elif entry == "layout":  # only looks whether they are there
        assert "MISSING" in script("prepare_data", "layout", *where, "--splits", "val", code=(1,))
    elif entry == "export":
        said = script("prepare_data", "export", "pascal_voc", "exported", "--root", voc, "--splits", "val", code=(1,))
        assert "images have invalid names" in said
    else:
        options = ("--name", *where, "--save_predictions", "a/b/c", "--workers", "0")
        assert "images have invalid names" in script("evaluate", checkpoint, *options, code=(1,))


@pytest.mark.parametrize(
    "content", [b"\xff\x00\xfex", b"\xff\xfe\x00", b"", b"   \n"], ids=["binary", "half a character", "empty", "blank"]
)
def test_a_list_that_is_none(content, voc, place):
    (voc / "ImageSets" / "Segmentation" / "val.txt").write_bytes(content)
    place.begin()
    with pytest.raises(DataError, match=r"val\.txt: "):
        data.load("pascal_voc", voc, "val")


LISTS = [
    Defect("device", "a device as an image", lambda _: b"image,mask\n/dev/zero,a.png\n"),
    Defect("folder", "a folder as an image", lambda _: b"image,mask\n..,a.png\n"),
    Defect("zero_byte", "a zero byte in a name", lambda _: b"image,mask\na\0.png,a.png\n"),
    Defect("address", "an address as an image", lambda _: b"image,mask\nhttp://127.0.0.1:1/a.png,a.png\n"),
    Defect("store", "an array that no store holds", lambda _: b"image,mask\na.raw#0:9x9x3,a.png\n"),
    Defect("long", "a field of 200 kB", lambda _: b"image,mask\n" + b"a" * 200_000 + b",a.png\n"),
    Defect("binary", "bytes that aren't text", lambda _: b"image,mask\n\xff\xfe,a.png\n"),
    Defect("quote", "a quote that never closes", lambda _: b'image,mask\n"a.png,a.png\n'),
    Defect("headless", "no heading", lambda _: b"a.png,a.png\n"),
    Defect("empty", "nothing", lambda _: b""),
]
LINES = [
    Defect("deep", "more brackets than a parser's stack", lambda _: DEEP),
    Defect("numbers", "a number as a path", lambda _: b'{"image": 7, "mask": "a.png"}'),
    Defect("list", "a list as a row", lambda _: b"[1, 2]"),
    Defect("surrogate", "half a character", lambda _: b'{"image": "\\ud800.png", "mask": "a.png"}'),
    Defect("zero_byte", "a zero byte in a name", lambda _: b'{"image": "a\\u0000.png", "mask": "a.png"}'),
    Defect("long_number", "a number of 100000 digits", lambda _: b'{"image": ' + b"9" * 100_000 + b"}"),
    Defect("cut", "half a line", lambda _: b'{"image": "a.p'),
]


@pytest.mark.parametrize("entry", ["check", "inspect", "evaluate"])
@pytest.mark.parametrize(
    ("defect", "suffix"),
    [*((x, "csv") for x in LISTS), *((x, "jsonl") for x in LINES)],
    ids=[*(f"csv_{x.name}" for x in LISTS), *(f"jsonl_{x.name}" for x in LINES)],
)
def test_a_table_of_pairs(defect, suffix, entry, own, place, script, checkpoint):
    defect.write(own / f"val.{suffix}", place.canary)
    place.begin()
    if entry == "check":
        with pytest.raises(DataError) as refused:
            data.check(data.load("folder", own, "val"))
        said = str(refused.value)
    elif entry == "inspect":
        said = script("prepare_data", "inspect", "folder", "--root", own, "--splits", "val", code=(1,))
    else:
        said = script("evaluate", checkpoint, "--name", "folder", "--root", own, "--workers", "0", code=(1,))
    assert str(own) in said or "/dev/zero" in said


CLASSES = [
    Defect("deep", "more brackets than a parser's stack", lambda _: DEEP),
    Defect("cut", "half a file", lambda _: b'["a", '),
    Defect("binary", "bytes that aren't text", lambda _: b"\xff\x00"),
    Defect("number", "not a list at all", lambda _: b"7"),
    Defect(
        "many", "more classes than 16 bits tell apart", lambda _: json.dumps([f"c{i}" for i in range(70000)]).encode()
    ),
    Defect("huge_id", "an id of which a table would take gigabytes", lambda _: b'[{"name": "a", "id": 9999999999}]'),
    Defect("infinite", "a number that JSON doesn't have", lambda _: b'[{"name": "a", "id": Infinity}]'),
    Defect("nested", "a dict for a name", lambda _: b'[{"name": {"a": 1}}]'),
    Defect("dict_pairs", "a pair of dicts", lambda _: b'{"classes": ["a", "b"], "flip_pairs": [[{}, []]]}'),
    Defect("list_color", "a colour of texts", lambda _: b'[{"name": "a", "color": ["<b>", 0, 0]}]'),
    Defect("huge_key", "an id2label of 10**12", lambda _: b'{"1000000000000": "a"}'),
]


@pytest.mark.parametrize("defect", CLASSES, ids=lambda x: x.name)
def test_a_classes_json(defect, own, place):
    defect.write(own / "classes.json", place.canary)
    place.begin()
    with pytest.raises(DataError, match=r"classes\.json: "):
        data.label_set("folder", own)


@pytest.mark.parametrize("defect", ZIPS, ids=lambda x: x.name)
def test_a_submission_is_refused(defect, place, script):
    for folder in ("leftImg8bit/test/a", "gtFine"):
        (place.input / folder).mkdir(parents=True)
    (place.input / "leftImg8bit" / "test" / "a" / f"{FRAME}_leftImg8bit.png").write_bytes(png())
    path = defect.write(place.input / "bad.zip", place.canary)
    place.begin()
    where = ("--name", "cityscapes", "--root", place.input, "--split", "test", "--check_submission", path)
    said = script("evaluate", *where, code=(1,))
    assert any(x in said for x in (f"{FRAME}.png", str(path), str(place.canary)))
    assert "complete and well-formed" not in said


def test_a_sound_submission_passes(place, script):
    (place.input / "leftImg8bit" / "test" / "a").mkdir(parents=True)
    (place.input / "leftImg8bit" / "test" / "a" / f"{FRAME}_leftImg8bit.png").write_bytes(png())
    (place.input / "good.zip").write_bytes(zipped({f"{FRAME}.png": MASK}))
    place.begin()
    where = ("--name", "cityscapes", "--root", place.input, "--split", "test")
    assert "complete" in script("evaluate", *where, "--check_submission", place.input / "good.zip", code=(0,))


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", 'x" onerror="alert(1)', "two\nlines", "a&b;c"])
def test_names_on_the_page_are_escaped(name, camvid, place, script):
    """Of files and of classes; the good and the bad."""
    plain = name.replace("/", "")
    for folder in ("val", "valannot"):
        (camvid / folder / "good.png").rename(camvid / folder / f"{plain}.png")
    (camvid / "val" / "bad.png").rename(camvid / "val" / f"bad{plain}.png")
    (camvid / "val" / f"bad{plain}.png").write_bytes(b"")
    (camvid / "valannot" / "bad.png").rename(camvid / "valannot" / f"bad{plain}.png")
    place.begin()
    script("prepare_data", "inspect", "camvid", "--root", camvid, "--output", "page", code=(1,))
    page = (place.output / "page" / "camvid.html").read_text()
    for dangerous in ("<script", 'onerror="', "a&b;"):
        assert dangerous not in page


def test_class_names_on_the_page_are_escaped(own, place, script):
    (own / "classes.json").write_text(json.dumps(["<script>alert(1)</script>", "b", "c", "d", "e"]))
    (own / "train.csv").write_text("image,mask\na.png,mask.png\n")
    place.begin()
    script("prepare_data", "inspect", "folder", "--root", own, "--splits", "train", "--output", "page", code=(0,))
    assert "&lt;script&gt;" in (place.output / "page" / "folder.html").read_text()
    assert "<script" not in (place.output / "page" / "folder.html").read_text()


@pytest.mark.parametrize("name", ["../../x", "/etc/x", "street_scenes/../../x"])
@pytest.mark.parametrize("command", ["inspect", "layout", "export"])
def test_names_of_datasets_are_known_ones(name, command, place, script):
    place.begin()
    words = (name, "out") if command == "export" else (name,)
    assert name in script("prepare_data", command, *words, code=(1, 2))


def test_a_pattern_that_climbs(place, script, checkpoint):
    """`*/../../x.png` would put its results where the pattern goes, seen from the output folder."""
    (place.input / "photos" / "more").mkdir(parents=True)
    (place.input / "x.png").write_bytes(png())
    place.begin()
    pattern = place.input / "photos" / "*" / ".." / ".." / "x.png"
    assert "its results would leave" in script("predict", checkpoint, pattern, "--output", "a/b", code=(1,))


def test_a_file_name_that_isnt_text(camvid, place):
    """As archives of another time have them: a byte of Latin-1."""
    for folder in ("val", "valannot"):
        (camvid / folder / "good.png").rename(camvid / folder / "stra\udcdfe.png")
    place.begin()
    with pytest.raises(DataError, match="isn't valid UTF-8: rename the file"):
        data.load("camvid", camvid, "val")
