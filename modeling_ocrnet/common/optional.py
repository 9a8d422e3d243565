"""Packages that only some commands need."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from .errors import MissingPackageError

# the extra in setup.cfg that installs each package
EXTRAS = {
    **dict.fromkeys(("onnxruntime", "onnx", "onnxscript"), "onnx"),
    "openvino": "openvino",
    "nncf": "onnx,openvino",
    "peft": "peft",
}


def import_optional(name: str) -> ModuleType:
    """Import a package that an extra installs.

    Raises:
        MissingPackageError: if it isn't installed; the message gives the command that installs it.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingPackageError(
            f"{name} isn't installed ({error}): pip install 'modeling-ocrnet[{EXTRAS[name]}]'"
        ) from error
