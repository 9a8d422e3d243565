"""Images and masks whose names differ by a common ending are paired, and nothing else is."""

import numpy as np
import pytest
from helpers.own_data import DRAWN, classes, pair, photo, source, write

from modeling_ocrnet import data
from modeling_ocrnet.data.name_endings import pair_by_endings, several_endings


@pytest.fixture
def root(tmp_path):
    (tmp_path / "own").mkdir()
    classes(tmp_path / "own")
    return tmp_path / "own"


# what names are without suffix; the parts taken off images and masks
PAIRED = {
    "both": ({"0001_img": "0001_gt", "0002_img": "0002_gt"}, "_img", "_gt"),
    "masks only": ({"0001TP_006690": "0001TP_006690_L", "0006R0_f00930": "0006R0_f00930_L"}, "", "_L"),
    "images only": ({"a_photo": "a", "b_photo": "b"}, "_photo", ""),
    "a single mask": ({"a": "a_mask"}, "", "_mask"),
    "Cityscapes": (
        {f"bonn_{i}_000019_leftImg8bit": f"bonn_{i}_000019_gtFine_labelIds" for i in range(3)},
        "_leftImg8bit",
        "_gtFine_labelIds",
    ),
    "one inside the other": ({"x_im": "x_im_mask", "y_im": "y_im_mask"}, "", "_mask"),
    "hyphens": ({"a-1": "a-1-seg", "b-1": "b-1-seg"}, "", "-seg"),
    "spaces": ({"a 1": "a 1 mask", "a 11": "a 11 mask"}, "", " mask"),
    "beginnings": ({"img_001": "mask_001", "img_002": "mask_002"}, "img_", "mask_"),
    "1 and 11": ({"1": "1_m", "11": "11_m", "111": "111_m"}, "", "_m"),
    "beyond ASCII": ({"é_rue": "é_masque", "ö_rue": "ö_masque"}, "_rue", "_masque"),
    "digits in a word": ({"21_training": "21_manual1", "22_training": "22_manual1"}, "_training", "_manual1"),
}  # fmt: skip


@pytest.mark.parametrize("kind", PAIRED)
def test_common_endings(kind):
    partners, of_images, of_masks = PAIRED[kind]
    found, tried = pair_by_endings(list(partners), sorted(partners.values(), reverse=True))
    assert (found.of_images, found.of_masks, found.partners, tried) == (of_images, of_masks, partners, "")


REFUSED = {
    "numbers": (["a_0001", "b_0001"], ["a_0002", "b_0002"]),
    "numbers of masks": (["a", "b"], ["a_1", "b_1"]),
    "words that differ by a number": (["a_cam1", "b_cam1"], ["a_cam2", "b_cam2"]),
    "words that differ by a number, and more": (["a_cam1", "b_cam1"], ["a_cam2_mask", "b_cam2_mask"]),
    "frames of other numbers": (["a_19_leftImg", "b_19_leftImg"], ["a_20_gtFine", "b_20_gtFine"]),
    "no separator": (["1", "2"], ["1mask", "2mask"]),
    "1 and 11": (["1", "2"], ["11", "21"]),
    "a mask is missing": (["a", "b", "c"], ["a_m", "b_m"]),
    "a mask too many": (["a", "b"], ["a_m", "b_m", "c_m"]),
    "different endings": (["a", "b"], ["a_m", "b_gt"]),
    "two single names": (["street_a"], ["street_b"]),
    "nothing would be left": (["_img", "x_img"], ["_gt", "x_gt"]),
    "other names": (["x_img", "y_img"], ["p_gt", "q_gt"]),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_partial_or_may_be_a_chance_is_not_paired(kind):
    images, masks = REFUSED[kind]
    found, tried = pair_by_endings(images, masks)
    assert found is None
    assert tried.startswith("; ")


def test_names_are_never_paired_wrongly():
    """Stems of few characters, so that many resemble each other: the pairs are those that the stems make."""
    rng = np.random.default_rng(0)
    several = 0
    for _ in range(2000):
        stems = {"".join(rng.choice(list("a1_-"), rng.integers(1, 5))) for _ in range(rng.integers(2, 7))}
        of_images, of_masks = (rng.choice(["", "_im", "-gt", "_a_b", "_a"]) for _ in range(2))
        if of_images == of_masks or len(stems) < 2:
            continue
        partners = {x + of_images: x + of_masks for x in stems}
        if partners.keys() & set(partners.values()):
            continue  # then the names are compared as they are
        found, _ = pair_by_endings(partners.keys(), partners.values())
        # none only if other endings make other pairs of the same names
        if found is None:
            assert other_pairs(partners)
        else:
            assert found.partners == partners
            several += len(partners) > 2
    assert several > 500


def other_pairs(partners):
    """Whether some other ends or starts of any length pair all names, by trying all."""
    images, masks = list(partners), list(partners.values())
    for turn in (1, -1):
        for i in range(1 + max(map(len, images))):
            for j in range(1 + max(map(len, masks))):
                ends = [{x[::turn][:n] for x in names} for names, n in ((images, i), (masks, j))]
                rests = [{x[::turn][n:]: x for x in names} for names, n in ((images, i), (masks, j))]
                agree = all(len(x) == 1 for x in ends) and rests[0].keys() == rests[1].keys()
                if agree and any(partners[rests[0][x]] != rests[1][x] for x in rests[0]):
                    return True
    return False


def test_the_pairs_are_read_and_told(root, caplog):
    """Each image with its own mask, under the image's own name; one line says what was taken off."""
    for i, name in enumerate(("1", "11", "2")):
        pair(root, f"images/train/{name}_img.jpg", f"masks/train/{name}_gt.png", np.full_like(DRAWN, i))
    rows = data.load("folder", root, "train")
    assert rows["name"][:] == ["11_img", "1_img", "2_img"]
    assert [int(np.asarray(x["label"]).max()) for x in rows] == [1, 0, 2]
    (line,) = [x.getMessage() for x in caplog.records]
    assert line == (
        f"{root}/masks/train: no mask has the name of an image, but without '_img' at the end of the images' names and "
        "'_gt' at the end of the masks' names they are the same: 3 pairs, e.g. 11_img.jpg with 11_gt.png"
    )
    assert data.load(source(root), split="train")["name"][:] == rows["name"][:]


def test_names_that_are_the_same_are_not_touched(root, caplog):
    """One pair with equal names is enough: then the others are strays, not pairs."""
    for name in "ab":
        pair(root, f"images/train/{name}.jpg", f"masks/train/{name}_gt.png")
    pair(root, "images/train/c.jpg", "masks/train/c.png")
    with pytest.raises(data.DataError, match="a_gt.png: a mask without an image(.|\n)*a.jpg: has no mask"):
        data.load("folder", root, "train")
    assert not caplog.records


def test_partial_pairs_stay_an_error_that_says_what_was_tried(root):
    for name in "abc":
        pair(root, f"images/train/{name}_img.jpg", f"masks/train/{name}_gt.png")
    (root / "masks/train/b_gt.png").unlink()
    with pytest.raises(data.DataError, match="2 of 3 images have a mask, of 2") as caught:
        data.load("folder", root, "train")
    assert "without '_img' at the end of the images' names and '_gt' at the end of the masks' names" in str(
        caught.value
    )
    photo(root / "images/train/b_img.png")  # two images of one name
    write(root / "masks/train/b_gt.png", DRAWN)
    with pytest.raises(data.DataError, match="b_img.jpg: its name without suffix is also that of b_img.png"):
        data.load("folder", root, "train")


def test_several_masks_of_one_image(root):
    kinds = ["color", "instanceIds", "labelIds"]
    for i in range(3):
        for kind in kinds:
            pair(root, f"images/train/bonn_{i}_leftImg8bit.png", f"masks/train/bonn_{i}_gtFine_{kind}.png")
    with pytest.raises(data.DataError, match="several masks fit one image") as caught:
        data.load("folder", root, "train")
    assert "end in _gtFine_color, _gtFine_instanceIds, _gtFine_labelIds: keep the masks of one" in str(caught.value)
    assert several_endings(["a", "b"], ["a_x", "b_x"]) == []
    assert several_endings(["a", "b"], ["a_x", "a_y", "b_y"]) == ["_y", "_x"]
    assert several_endings(["a", "b"], ["a_x", "a_y", "c_y"]) == []
