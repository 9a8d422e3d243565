"""Packages that only some of the work needs."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from .errors import MissingPackageError

# the extra of setup.cfg that brings each
EXTRAS = {"onnxruntime": "onnx", "onnx": "onnx", "onnxscript": "onnx", "openvino": "openvino", "nncf": "onnx,openvino"}


def import_optional(name: str) -> ModuleType:
    """A package of an extra.

    Raises:
        MissingPackageError: where it isn't installed, with the command that does it.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingPackageError(
            f"{name} isn't installed ({error}): pip install 'modeling-ocrnet[{EXTRAS[name]}]'"
        ) from error
