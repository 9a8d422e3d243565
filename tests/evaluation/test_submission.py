"""Submissions: what is written passes the check, and what a server would refuse is named."""

import zipfile

import numpy as np
import pytest
from PIL import Image

from modeling_ocrnet import data
from modeling_ocrnet.evaluation.submission import check_submission, write_submission

LABELS = data.label_set("cityscapes")


@pytest.fixture
def frames(tmp_path):
    """A test split of three frames, and predictions for them."""
    folder = tmp_path / "root" / "leftImg8bit" / "test" / "berlin"
    folder.mkdir(parents=True)
    (tmp_path / "ids").mkdir()
    for i in range(3):
        Image.new("RGB", (64, 32)).save(folder / f"berlin_{i:06d}_000019_leftImg8bit.png")
        Image.fromarray(np.full((32, 64), (7, 8, 11)[i], np.uint8)).save(
            tmp_path / "ids" / f"berlin_{i:06d}_000019.png"
        )
    return data.load("cityscapes", tmp_path / "root", "test")


def test_a_complete_submission_is_flat_and_passes(frames, tmp_path):
    write_submission(tmp_path / "out.zip", tmp_path / "ids", frames, LABELS)
    assert check_submission(tmp_path / "out.zip", frames, LABELS) == []
    with zipfile.ZipFile(tmp_path / "out.zip") as file:
        assert file.namelist() == [f"berlin_{i:06d}_000019.png" for i in range(3)]
        with file.open("berlin_000002_000019.png") as data_:
            assert (np.asarray(Image.open(data_)) == 11).all()


def test_an_incomplete_one_is_not_written(frames, tmp_path):
    (tmp_path / "ids" / "berlin_000001_000019.png").unlink()
    with pytest.raises(ValueError, match="berlin_000001_000019: no prediction"):
        write_submission(tmp_path / "out.zip", tmp_path / "ids", frames, LABELS)
    assert not list(tmp_path.glob("*out.zip*"))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda ids: Image.fromarray(np.full((16, 64), 7, np.uint8)), "64x16 pixels, but its frame has 64x32"),
        (lambda ids: Image.fromarray(np.full((32, 64), 200, np.uint8)), r"ids \[200\]"),
        (lambda ids: Image.fromarray(np.full((32, 64, 3), 7, np.uint8)), "mode RGB"),
        (lambda ids: Image.fromarray(np.zeros((32, 64), np.uint8)), "are these train ids"),
    ],
)
def test_predictions_that_a_server_refuses(frames, tmp_path, change, complaint):
    change(None).save(tmp_path / "ids" / "berlin_000001_000019.png")
    with pytest.raises(ValueError, match=f"berlin_000001_000019.png: .*{complaint}"):
        write_submission(tmp_path / "out.zip", tmp_path / "ids", frames, LABELS)
    assert not list(tmp_path.glob("*out.zip*"))


def test_zips_of_another_shape(frames, tmp_path):
    ids = tmp_path / "ids"
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as file:
        file.write(ids / "berlin_000000_000019.png", "results/berlin_000000_000019.png")
        file.write(ids / "berlin_000001_000019.png", "berlin_000001_000019_a.png")
        file.write(ids / "berlin_000001_000019.png", "berlin_000001_000019_b.png")
        file.write(ids / "berlin_000001_000019.png", "munich_000001_000019.png")
        file.writestr("readme.txt", "hello")
        file.writestr("berlin_000002_000019.png", b"not a picture")
    problems = "\n".join(check_submission(tmp_path / "bad.zip", frames, LABELS))
    for complaint in (
        "results/berlin_000000_000019.png: inside",
        "_b.png: a second",
        "munich",
        "readme.txt: not a .png",
    ):
        assert complaint in problems
    assert "berlin_000002_000019.png: not a readable image" in problems
    assert "not a zip file" in check_submission(ids / "berlin_000000_000019.png", frames, LABELS)[0]
    assert "no such file" in check_submission(tmp_path / "nothing.zip", frames, LABELS)[0]
