"""Files to pixels: RGB images and label maps of train ids, with errors that name the file and the likely mistake."""

from __future__ import annotations

import io

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from .labels import IGNORE, count_ids
from .raw import raw_array

MASK_MODES = ("L", "P", "1", "I", "I;16")  # modes whose pixels are ids


class DataError(ValueError):
    """Something is wrong with the data; the message names the file, the value, what was expected and the remedy."""


def open_image(source: dict) -> Image.Image:
    """Open, but don't decode, an entry of an `Image(decode=False)` column: `{"path": ..., "bytes": ...}`.

    Raises:
        DataError: where the file isn't there or isn't an image.
    """
    path, data = source["path"], source["bytes"]
    if (stored := raw_array(source)) is not None:
        return Image.fromarray(stored)
    try:
        return Image.open(path if data is None else io.BytesIO(data))
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file") from error
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: not a readable image ({error}): replace or remove it") from error


def _decode(image: Image.Image, path: str | None) -> Image.Image:
    try:
        image.load()
    except (OSError, SyntaxError, ValueError) as error:  # what PIL's decoders raise for damaged data
        raise DataError(f"{path}: a damaged image ({error}): replace or remove it") from error
    return image


def read_image(source: dict) -> Image.Image:
    """The RGB image as a person sees it: upright where EXIF says so, on white where it is transparent."""
    return to_rgb(ImageOps.exif_transpose(_decode(open_image(source), source["path"])))


def to_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB from any mode of PIL's. `convert("RGB")` alone would clip 16-bit greys and show what alpha hides."""
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        grey = np.asarray(image, np.float64)
        # 16-bit files come as 0..65535, in "I" too; floats as 0..1 or 0..255
        top = 65535 if image.mode != "F" else 1 if grey.max(initial=0) <= 1 else 255
        image = Image.fromarray((grey.clip(0, top) * (255 / top)).round().astype(np.uint8))
    elif image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def check_mask_mode(mode: str, path: str | None) -> None:
    if mode not in MASK_MODES:
        raise DataError(
            f"{path}: a mask of mode {mode}, expected one channel of ids: this looks like a picture of the mask's "
            "colours; point at the files that hold ids"
        )


def read_mask(source: dict, to_train_ids: np.ndarray) -> Image.Image:
    """The mask as train ids, mode "L", 255 where ignored. Palette files are read as indices.

    Args:
        source: an entry of an `Image(decode=False)` column.
        to_train_ids: (256,) int16, file id to train id, -1 where the dataset knows no such id.

    Raises:
        DataError: where the file holds ids that the dataset doesn't know.
    """
    path = source["path"]
    if is_matlab(source):
        ids = _read_matlab(path)
    else:
        mask = open_image(source)
        check_mask_mode(mask.mode, path)
        ids = np.asarray(_decode(mask, path))
    if ids.dtype != np.uint8:
        if ids.size and (ids.min() < 0 or ids.max() > 255):
            raise DataError(f"{path}: ids from {ids.min()} to {ids.max()}, expected 0 to 255: instance ids, perhaps?")
        ids = ids.astype(np.uint8)
    return Image.fromarray(train_ids_of(ids, to_train_ids, path))


def train_ids_of(ids: np.ndarray, to_train_ids: np.ndarray, path: str | None) -> np.ndarray:
    """File ids (height, width) uint8 to train ids of the same shape; arguments and errors as of [`read_mask`]."""
    known = to_train_ids >= 0
    # most datasets' ids are 0..n without a gap: then the largest id tells, without counting all of them
    if not known[: int(ids.max(initial=0)) + 1].all() and not known[_present(ids)].all():
        raise DataError(f"{path}: {_unknown_ids(ids, to_train_ids)}")
    return cv2.LUT(ids, to_train_ids.astype(np.uint8))


def _present(ids: np.ndarray) -> np.ndarray:
    """The ids that occur, in order."""
    return np.flatnonzero(count_ids(ids))


def is_matlab(source: dict) -> bool:
    """Whether a mask is a .mat file, as COCO-Stuff 10k and SBD have them."""
    return source["bytes"] is None and str(source["path"]).endswith(".mat")


def _read_matlab(path: str) -> np.ndarray:
    """The label map in a .mat file: `S` (COCO-Stuff 10k), or `GTcls.Segmentation` (SBD)."""
    try:
        from scipy.io import loadmat
        from scipy.io.matlab import MatReadError
    except ImportError as error:
        raise DataError(f"{path}: .mat files need scipy: pip install modeling-ocrnet[mat]") from error
    try:
        content = loadmat(path)
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file") from error
    except (MatReadError, ValueError, OSError, TypeError) as error:  # what scipy raises for damaged files
        raise DataError(f"{path}: not a readable .mat file ({error}): replace or remove it") from error
    if "S" in content:
        return content["S"]
    if "GTcls" in content:
        return content["GTcls"][0]["Segmentation"][0]
    keys = ", ".join(key for key in content if not key.startswith("__"))
    raise DataError(f"{path}: holds {keys}, expected S (COCO-Stuff) or GTcls (SBD)")


def read_instances(source: dict) -> np.ndarray:
    """(height, width) int32 instance ids."""
    image = open_image(source)
    check_mask_mode(image.mode, source["path"])
    return np.asarray(_decode(image, source["path"])).astype(np.int32)


def _unknown_ids(ids: np.ndarray, to_train_ids: np.ndarray) -> str:
    present = _present(ids)
    unknown = [int(i) for i in present if to_train_ids[i] < 0]
    known = np.flatnonzero(to_train_ids >= 0)
    classes = len(np.unique(to_train_ids[known])) - (IGNORE in to_train_ids)
    message = (
        f"holds the ids {unknown[:10]}, which this dataset doesn't have (it has {len(known)} ids, up to {known[-1]})"
    )
    if unknown == [IGNORE] and present[present != IGNORE].max(initial=0) < classes:
        return message + ": these look like train ids in a file of label ids; name such files ..._labelTrainIds.png"
    if to_train_ids[IGNORE] == IGNORE:
        return message + ": label ids in a file of train ids, or another dataset's label set?"
    return message + ": another dataset's label set?"


class Decode:
    """The format of a loaded dataset: rows with a PIL image and, where there is one, a PIL mask of train ids."""

    def __init__(self, to_train_ids: np.ndarray):
        self.to_train_ids = to_train_ids

    def __call__(self, rows: dict) -> dict:
        rows = dict(rows)
        if "image" in rows:
            rows["image"] = [read_image(x) for x in rows["image"]]
        if "label" in rows:
            rows["label"] = [None if x is None else read_mask(x, self.to_train_ids) for x in rows["label"]]
        if "instances" in rows:
            rows["instances"] = [None if x is None else read_instances(x) for x in rows["instances"]]
        return rows
