"""Names, links, tables, stores and archives that point elsewhere or claim what isn't so."""

import json
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from helpers.corrupt_files import DEEP, FRAME, MASK, ZIPS, Defect, picture, png, zipped
from PIL import Image
from pyarrow import parquet

from modeling_ocrnet import data
from modeling_ocrnet.data.decoding import DataError
from modeling_ocrnet.data.source import DataSource
from modeling_ocrnet.preparation.manifest import Manifest
from modeling_ocrnet.preparation.run_lengths import region_mask

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
        with pytest.raises(DataError, match="aren't called as files are"):
            data.load("pascal_voc", voc, "val")
    elif entry == "inspect":
        assert "aren't called as files are" in script("prepare_data", "inspect", *where, "--splits", "val", code=(1,))
    elif entry == "layout":  # only looks whether they are there
        assert "MISSING" in script("prepare_data", "layout", *where, "--splits", "val", code=(1,))
    elif entry == "export":
        said = script("prepare_data", "export", "pascal_voc", "exported", "--root", voc, "--splits", "val", code=(1,))
        assert "aren't called as files are" in said
    else:
        options = ("--name", *where, "--save_predictions", "a/b/c", "--workers", "0")
        assert "aren't called as files are" in script("evaluate", checkpoint, *options, code=(1,))


@pytest.mark.parametrize("content", [b"\xff\xfe\x00x", b"", b"   \n"], ids=["binary", "empty", "blank"])
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


@pytest.fixture
def own(place):
    """Own data without pairs: `classes.json`, an image and a mask."""
    (place.input / "a.png").write_bytes(png())
    (place.input / "mask.png").write_bytes(picture(mode="L"))
    (place.input / "classes.json").write_text('["a", "b", "c", "d", "e"]')
    return place.input


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


@pytest.fixture
def store(place):
    """A sound memory-mapped store of one pair, as `export --store raw` writes it."""
    (place.input / "data").mkdir()
    (place.input / "data" / "val-00000-of-00001.raw").write_bytes(bytes(2 * 2 * 4))
    write_store(place.input)
    return place.input


def write_store(root: Path, rows=(["x", 0, 2, 2, True],), files: dict | None = None, **fields) -> None:
    index = root / "data" / "val-00000-of-00001.json"
    index.write_text(rows if isinstance(rows, str) else json.dumps(rows))
    sizes = {f"data/{x.name}": {"bytes": x.stat().st_size} for x in sorted((root / "data").iterdir())}
    content = {"store": "raw", "dataset": "camvid", "complete": True, "splits": {"val": 1}, "files": files or sizes}
    (root / "manifest.json").write_text(json.dumps({**content, **fields}))


def test_a_sound_store_is_read(store, place):
    place.begin()
    assert np.asarray(data.load("camvid", store, "val")[0]["image"]).shape == (2, 2, 3)


@pytest.mark.parametrize(
    "row",
    [
        ["../../precious", 0, 2, 2, True],
        ["x", 8, 2, 2, True],
        ["x", -4, 2, 2, True],
        ["x", 0, 10**9, 10**9, True],
        ["x", 0, 0, 0, True],
        ["x", 0, -2, -2, True],
        ["x", "0:9x9#", 2, 2, True],
        ["x", 0, 2.0, 2, True],
        [["x"], 0, 2, 2, True],
        ["x", 0, 2],
        7,
    ],
    ids=str,
)
def test_a_store_whose_index_lies(row, store, place, script, checkpoint):
    """Arrays are mapped where the index says: behind the end of the file there is nothing."""
    write_store(store, [row])
    place.begin()
    with pytest.raises(DataError):
        data.load("camvid", store, "val")
    script("evaluate", checkpoint, "--name", "camvid", "--root", store, "--save_predictions", "a/b/c", code=(1,))


@pytest.mark.parametrize(
    "fields",
    [
        {"files": {"data/val-/../../../precious.json": {"bytes": 11}}},
        {"files": {"/etc/passwd": {"bytes": 1}}},
        {"files": {"data/val-00000-of-00001.raw": 7}},
        {"files": [1]},
        {"splits": 7},
        {"splits": None},
    ],
    ids=str,
)
def test_a_manifest_that_lies(fields, store, place):
    write_store(store, **fields)
    place.begin()
    with pytest.raises(DataError, match=r"manifest\.json: "):
        data.load("camvid", store, "val")


@pytest.mark.parametrize("rows", ["", "{", DEEP.decode()], ids=["empty", "cut", "deep"])
def test_an_index_that_isnt_json(rows, store, place):
    write_store(store, rows)
    place.begin()
    with pytest.raises(DataError, match=r"val-00000-of-00001\.json: "):
        data.load("camvid", store, "val")


@pytest.mark.parametrize(
    "content", ['{"files": [1]}', '{"files": {"x": 7}}', '{"files": {"x": {}}}', "[]", DEEP.decode(), "{"],
    ids=["list", "number", "bare", "array", "deep", "cut"],
)  # fmt: skip
def test_an_export_over_a_strange_manifest(content, place):
    (place.output / "manifest.json").write_text(content)
    place.begin()
    with pytest.raises(DataError, match=r"manifest\.json: not a manifest"):
        Manifest(place.output, {})


def parquet_folder(root: Path, rows: list[dict], metadata: str | None = None) -> None:
    image = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})
    schema = pyarrow.schema({"image": image, "label": image})
    features = {x: {"_type": "Image"} for x in ("image", "label")}
    held = metadata or json.dumps({"info": {"features": features}})
    table = pyarrow.Table.from_pylist(rows, schema.with_metadata({"huggingface": held}))
    parquet.write_table(table, root / "train.parquet")


PARQUETS = {
    "device": [{"image": {"path": "/dev/zero"}, "label": {"bytes": MASK}}],
    "address": [{"image": {"path": "reference://a::file:///tmp/x.json"}, "label": {"bytes": MASK}}],
    "mat": [{"image": {"bytes": png()}, "label": {"path": "/dev/zero.mat"}}],
    "store": [{"image": {"path": "x.raw#0:9x9x3"}, "label": {"bytes": MASK}}],
    "postscript": [
        {"image": {"bytes": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"}, "label": {"bytes": MASK}}
    ],
    "nothing": [{"image": {}, "label": {"bytes": MASK}}],
}


@pytest.mark.parametrize("streaming", [False, True], ids=["map", "stream"])
@pytest.mark.parametrize("rows", PARQUETS.values(), ids=PARQUETS)
def test_a_parquet_file_whose_rows_point_elsewhere(rows, streaming, own, place):
    parquet_folder(own, rows)
    place.begin()
    source = DataSource("hub", path=str(own), mask_column="label")
    with pytest.raises(DataError):
        next(iter(data.load(source, split="train", streaming=streaming)))


@pytest.mark.parametrize("streaming", [False, True], ids=["map", "stream"])
@pytest.mark.parametrize("kind", ["cut", "empty", "web_page", "features", "script"])
def test_a_parquet_folder_that_isnt_one(kind, streaming, own, place):
    parquet_folder(own, [{"image": {"bytes": png()}, "label": {"bytes": MASK}}])
    file = own / "train.parquet"
    if kind == "features":  # `datasets` looks classes up by the name that stands there
        evil = {"_type": "Popen", "args": ["touch", str(place.canary)]}
        parquet_folder(own, [], json.dumps({"info": {"features": {"image": evil, "label": evil}}}))
    elif kind == "script":  # of older versions, which ran it
        file.unlink()
        (own / "a.png").unlink()
        (own / "mask.png").unlink()
        (own / f"{own.name}.py").write_text(f"open({str(place.canary)!r}, 'w')")
    else:
        file.write_bytes({"cut": file.read_bytes()[:200], "empty": b"", "web_page": b"<!DOCTYPE html>"}[kind])
    place.begin()
    source = DataSource("hub", path=str(own), mask_column="label")
    with pytest.raises(DataError):
        next(iter(data.load(source, split="train", streaming=streaming)))


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
    script("prepare_data", "inspect", "camvid", "--root", camvid, "--output_dir", "page", code=(1,))
    page = (place.output / "page" / "camvid.html").read_text()
    for dangerous in ("<script", 'onerror="', "a&b;"):
        assert dangerous not in page


def test_class_names_on_the_page_are_escaped(own, place, script):
    (own / "classes.json").write_text(json.dumps(["<script>alert(1)</script>", "b", "c", "d", "e"]))
    (own / "train.csv").write_text("image,mask\na.png,mask.png\n")
    place.begin()
    script("prepare_data", "inspect", "folder", "--root", own, "--splits", "train", "--output_dir", "page", code=(0,))
    assert "&lt;script&gt;" in (place.output / "page" / "folder.html").read_text()
    assert "<script" not in (place.output / "page" / "folder.html").read_text()


@pytest.mark.parametrize("name", ["../../x", "/etc/x", "street_scenes/../../x"])
@pytest.mark.parametrize("command", ["inspect", "layout", "export"])
def test_names_of_datasets_are_known_ones(name, command, place, script):
    place.begin()
    words = (name, "out") if command == "export" else (name,)
    assert repr(name) in script("prepare_data", command, *words, code=(1,))


def test_a_pattern_that_climbs(place, script, checkpoint):
    """`*/../../x.png` would put its results where the pattern goes, seen from the output folder."""
    (place.input / "photos" / "more").mkdir(parents=True)
    (place.input / "x.png").write_bytes(png())
    place.begin()
    pattern = place.input / "photos" / "*" / ".." / ".." / "x.png"
    assert "its results would leave" in script("predict", checkpoint, pattern, "--output_dir", "a/b", code=(1,))


def test_a_file_name_that_isnt_text(camvid, place):
    """As archives of another time have them: a byte of Latin-1."""
    for folder in ("val", "valannot"):
        (camvid / folder / "good.png").rename(camvid / folder / "stra\udcdfe.png")
    place.begin()
    with pytest.raises(DataError, match="isn't UTF-8: rename the file"):
        data.load("camvid", camvid, "val")
