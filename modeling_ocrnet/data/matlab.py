"""Reads masks in MATLAB's .mat files."""

from __future__ import annotations

import os
import zlib
from typing import Literal

import numpy as np

from .errors import DataError

MATLAB_BYTES = 2**27  # limit for the unpacked parts of a .mat file; a label map takes far less


def is_matlab(source: dict) -> bool:
    """Whether a mask is a .mat file, as in COCO-Stuff 10k and SBD."""
    return source["bytes"] is None and str(source["path"]).endswith(".mat")


def read_matlab(path: str) -> np.ndarray:
    """The label map in a .mat file, (height, width): `S` (COCO-Stuff 10k), or `GTcls.Segmentation` (SBD).

    Raises:
        DataError: if the file is damaged or holds something else, or scipy isn't installed.
    """
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise DataError(f"{path}: .mat files need scipy: pip install modeling-ocrnet[mat]") from error
    try:
        _check_unpacked(path)
        content = loadmat(path)
        found = content["GTcls"][0]["Segmentation"][0] if "GTcls" in content else content.get("S")
    except Exception as error:  # scipy may raise anything for damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: not a readable .mat file ({reason}): replace or remove it") from error
    if found is None:
        keys = ", ".join(key for key in content if not key.startswith("__"))
        raise DataError(f"{path}: holds {keys}, expected S (COCO-Stuff) or GTcls (SBD)")
    if not isinstance(found, np.ndarray) or found.ndim != 2 or found.dtype.kind not in "ui":
        shape, kind = getattr(found, "shape", "no shape"), getattr(found, "dtype", type(found).__name__)
        raise DataError(f"{path}: holds {kind} of {shape}, expected integers of shape (height, width)")
    return found


def _check_unpacked(path: str) -> None:
    """Refuse a .mat file with a compressed part (type 15 of MAT-file format, level 5) that unpacks to more than
    MATLAB_BYTES.

    Raises:
        ValueError: if one does.
    """
    with open(path, "rb") as file:
        file.seek(124)
        if (mark := file.read(4)[2:]) not in (b"IM", b"MI"):  # other levels have no compression
            return
        order: Literal["little", "big"] = "little" if mark == b"IM" else "big"
        while len(head := file.read(8)) == 8:
            kind, size = (int.from_bytes(head[i : i + 4], order) for i in (0, 4))
            if kind != 15:
                file.seek(size, os.SEEK_CUR)
            else:
                unpacker, packed, unpacked = zlib.decompressobj(), file.read(size), 0
                while packed:
                    unpacked += len(unpacker.decompress(packed, 2**20))
                    packed = unpacker.unconsumed_tail
                    if unpacked > MATLAB_BYTES:
                        raise ValueError(f"unpacks to more than {MATLAB_BYTES >> 20} MB")
