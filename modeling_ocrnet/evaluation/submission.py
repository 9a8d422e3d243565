"""Submissions to Cityscapes' test server: a flat zip of PNGs with label ids, one per frame, at the frame's size."""

from __future__ import annotations

import lzma
import zipfile
import zlib
from pathlib import Path, PurePosixPath

import numpy as np
from datasets import Dataset

from ..common.atomic_files import atomic_write
from ..common.errors import UserError
from ..data.decoding import DataError, decoded
from ..data.image_headers import open_image
from ..data.labels import LabelSet

SHOWN = 10  # problems that a message lists


def write_submission(path: str | Path, folder: str | Path, dataset: Dataset, labels: LabelSet) -> None:
    """Pack predictions into a zip, and check it with [`check_submission`].

    Args:
        path: the zip to write.
        folder: the folder with a `<name>.png` of label ids for each of the dataset's frames.
        dataset: the split to submit.
        labels: the dataset's label set.

    Raises:
        UserError: if predictions are missing or wrong; the message lists them. The zip isn't written then.
    """
    path, folder = Path(path), Path(folder)
    missing = [name for name in dataset.with_format(None)["name"] if not (folder / f"{name}.png").is_file()]
    if missing:
        raise UserError(f"{path} would be incomplete: {_listed([f'{name}: no prediction' for name in missing])}")
    with atomic_write(path) as part:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as file:  # PNGs are already compressed
            for name in dataset.with_format(None)["name"]:
                file.write(folder / f"{name}.png", f"{name}.png")
        problems = check_submission(part, dataset, labels)
        if problems:
            raise UserError(f"{path} would be refused: {_listed(problems)}")


def check_submission(path: str | Path, dataset: Dataset, labels: LabelSet) -> list[str]:
    """List what the server would refuse, one line per problem.

    Args:
        path: a zip.
        dataset: the split that it is for.
        labels: the dataset's label set.

    Returns:
        The problems; an empty list for a valid submission.
    """
    if not Path(path).is_file():
        return [f"{path}: there is no such file"]
    if not zipfile.is_zipfile(path):
        return [f"{path}: not a zip file"]
    frames = dataset.with_format(None)
    sizes = dict(zip(frames["name"], frames["image"], strict=True))
    problems = []
    found: dict[str, str] = {}
    try:
        file = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        return [f"{path}: a damaged zip file ({error})"]
    with file:
        for entry in file.namelist():
            if entry.endswith("/"):
                problems.append(f"{entry}: a folder; the zip must be flat")
                continue
            name = PurePosixPath(entry)
            if len(name.parts) > 1:
                problems.append(f"{entry}: inside a folder; the zip must be flat")
            if name.suffix != ".png":
                problems.append(f"{entry}: not a .png")
                continue
            # a frame's prediction is called <city>_<sequence>_<frame>*.png
            frame = "_".join(name.stem.split("_")[:3])
            if frame not in sizes:
                problems.append(f"{entry}: no frame of this split; names begin with <city>_<sequence>_<frame>")
            elif frame in found:
                problems.append(f"{entry}: a second prediction for {frame}, beside {found[frame]}")
            else:
                found[frame] = entry
                problems += _entry_problems(file, entry, sizes[frame], labels)
    return problems + [f"{name}: no prediction" for name in sizes if name not in found]


def _entry_problems(file: zipfile.ZipFile, entry: str, frame: dict, labels: LabelSet) -> list[str]:
    with open_image(frame) as image:
        expected = image.size
    # a PNG is hardly larger than its pixels
    limit = expected[0] * expected[1] * 2 + 2**16
    try:
        if file.getinfo(entry).file_size > limit:
            return [f"{entry}: {file.getinfo(entry).file_size} bytes, more than a prediction of this size can have"]
        with file.open(entry) as packed:
            content = packed.read(limit)
        prediction = open_image({"path": entry, "bytes": content})
        size = prediction.size
        if size != expected:  # don't decode it
            return [f"{entry}: {size[0]}x{size[1]} pixels, but its frame has {expected[0]}x{expected[1]}"]
        ids = np.asarray(decoded(prediction, entry))
    except DataError as error:
        return [str(error)]
    # damaged; or encrypted, or compressed by a method that Python doesn't know (RuntimeErrors)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError, ValueError) as error:
        return [f"{entry}: can't be unpacked ({error or type(error).__name__})"]
    if prediction.mode != "L":
        return [f"{entry}: mode {prediction.mode}, expected label ids as 8-bit greys"]
    problems = []
    unknown = sorted(set(np.unique(ids).tolist()) - {label.id for label in labels.labels})
    if unknown:
        problems.append(f"{entry}: holds the ids {unknown[:10]}, which aren't label ids")
    trained = set(labels.ids)
    if not unknown and ids.max() < len(trained) and not set(np.unique(ids).tolist()) & trained:
        problems.append(f"{entry}: holds no evaluated class: are these train ids?")
    return problems


def _listed(problems: list[str]) -> str:
    more = f"\n  and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
    return f"{len(problems)} problems\n  " + "\n  ".join(problems[:SHOWN]) + more
