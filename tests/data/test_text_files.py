"""Tables and lists as spreadsheets and editors write them: what was written is what is read, or it is refused."""

import csv
import io
import json

import pytest
from helpers.own_data import classes, pair, source

from modeling_ocrnet import data
from modeling_ocrnet.data.classes import read_classes
from modeling_ocrnet.data.pairs import read_list
from modeling_ocrnet.data.text_files import read_table, read_text

NAMES = ["a.jpg", "Straße 1.jpg", "a,b.jpg", "a;b.jpg", 'say "a".jpg', "tab\tb.jpg", " b.jpg"]
COLUMNS = ("image", "mask")
# what Excel calls the formats, and the delimiters and encodings that it writes
WRITTEN = {
    "CSV": (",", "cp1252"),
    "CSV in German": (";", "cp1252"),
    "CSV UTF-8": (",", "utf-8-sig"),
    "CSV UTF-8 in German": (";", "utf-8-sig"),
    "Unicode Text": ("\t", "utf-16"),
    "plain": (",", "utf-8"),
}


def csv_of(rows, delimiter):
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter).writerows(rows)
    return file.getvalue()


@pytest.mark.parametrize("kind", WRITTEN)
def test_what_excel_writes_is_read(kind, tmp_path):
    """Against Python's own writer, with a column and empty rows that nobody needs, as Excel leaves them."""
    delimiter, encoding = WRITTEN[kind]
    rows = [[x, "1,5", x.replace("jpg", "png")] for x in NAMES]
    text = csv_of([["image", "Größe", "mask", ""], *[[*x, ""] for x in rows], [""] * 4], delimiter)
    for hint in ("", f"sep={delimiter}\r\n"):
        (tmp_path / "train.csv").write_bytes((hint + text).encode(encoding))
        read, guessed = read_table(tmp_path / "train.csv", COLUMNS)
        assert [[x["image"], x["Größe"], x["mask"]] for x in read] == rows
        assert guessed == (encoding == "cp1252")


@pytest.mark.parametrize("kind", WRITTEN)
def test_pairs_are_found_through_it(kind, tmp_path):
    delimiter, encoding = WRITTEN[kind]
    names = ["Straße 1", "a,b", "a;b"]
    for x in names:
        pair(tmp_path, f"{x}.jpg", f"{x}.png")
    classes(tmp_path)
    text = csv_of([COLUMNS, *[(f"{x}.jpg", f"{x}.png") for x in names]], delimiter)
    (tmp_path / "train.csv").write_bytes(text.encode(encoding))
    rows = data.load(source(tmp_path), split="train")
    data.check(rows)
    assert rows["name"][:] == sorted(names)


@pytest.mark.parametrize(
    ("text", "encoding", "message"),
    [
        (
            "image,mask,x;image;mask\na,b;c,d\n",
            "utf-8",
            "its first line names image, mask both between commas and semi",
        ),
        ("image,mask,image\na,b,c\n", "utf-8", "has several columns image: rename the others"),
        (
            "image,mask\na,b.jpg,a,b.png\n",
            "utf-8",
            'line 2 has 4 cells, but the first line 2: write a name that holds a ","',
        ),
        ("sep=;\nimage;mask\na;b;c\n", "utf-8", "line 3 has 3 cells, but the first line 2"),
        ('image,mask\n"a.jpg,a.png\nb.jpg,b.png\n', "utf-8", r"not readable as CSV \(unexpected end of data\)"),
        (
            "image,mask\na.jpg,a.png\n",
            "utf-16-le",
            "holds zero bytes, as UTF-16 without a byte order mark does: save it",
        ),
        (
            "image;mask\n\x81.jpg;\xe9.png\n",
            "latin-1",
            r"byte 11 isn't UTF-8: save it as UTF-8 \(in Excel: CSV UTF-8\)",
        ),
    ],
    ids=["two delimiters", "twice", "no quotes", "lines of the file", "open quote", "no mark", "no code page"],
)
def test_what_can_be_read_in_several_ways_is_refused(text, encoding, message, tmp_path):
    (tmp_path / "train.csv").write_bytes(text.encode(encoding))
    with pytest.raises(data.DataError, match=rf"train\.csv: {message}") as refused:
        read_table(tmp_path / "train.csv", COLUMNS)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("encoding", ["mac_roman", "cp850"])
def test_a_wrong_guess_of_the_encoding_is_named(encoding, tmp_path):
    """The file's name on the disk tells it; another row, in ASCII, is read."""
    for x in ("é", "a"):
        pair(tmp_path, f"{x}.jpg", f"{x}.png")
    classes(tmp_path)
    text = csv_of([COLUMNS, ("é.jpg", "é.png"), ("a.jpg", "a.png")], ";")
    (tmp_path / "train.csv").write_bytes(text.encode(encoding))
    with pytest.raises(
        data.DataError, match=r"2 problems(.|\n)*row 1 names .*, which isn't there: the table isn't UTF-8"
    ):
        data.load(source(tmp_path), split="train")


def test_lines_of_json_in_utf_16(tmp_path):
    """As PowerShell writes what a program prints."""
    lines = [{"image": "Straße\u2028.jpg", "mask": None}, {"image": "ü.jpg", "mask": "ü.png"}]
    text = "\r\n".join(json.dumps(x, ensure_ascii=False) for x in lines)
    (tmp_path / "test.jsonl").write_bytes(text.encode("utf-16"))
    assert read_table(tmp_path / "test.jsonl", COLUMNS).rows == lines


def test_names_of_classes_are_not_guessed(tmp_path):
    """Nothing would show that they are wrong."""
    file, names = tmp_path / "classes.json", ["Straße", "Bäume"]
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        file.write_bytes(json.dumps(names, ensure_ascii=False).encode(encoding))
        assert list(read_classes(file).names) == names
    file.write_bytes(json.dumps(names, ensure_ascii=False).encode("cp1252"))
    with pytest.raises(data.DataError, match=r"classes\.json: byte 6 isn't UTF-8: save it as UTF-8"):
        read_classes(file)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_lists_of_names(encoding, tmp_path):
    (tmp_path / "train.txt").write_bytes("2007_000032\r\n\r\nü 1\r\n".encode(encoding))
    assert read_list(tmp_path / "train.txt") == ["2007_000032", "ü"]


def test_a_folder_instead_of_a_file_is_named(tmp_path):
    with pytest.raises(data.DataError, match=r"can't be read \(Is a directory\)"):
        read_text(tmp_path)
