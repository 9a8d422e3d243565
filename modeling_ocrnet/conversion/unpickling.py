"""A pickle module for `torch.load` that rebuilds only tensors.

Other frameworks' training checkpoints hold pickled objects next to the weights (mmengine's `HistoryBuffer` and
`getattr`, numpy scalars), and `weights_only=True` refuses the whole file. Here everything that isn't part of a tensor
becomes a `Placeholder`, which accepts any arguments and does nothing. No name in the file is ever imported.
"""

from __future__ import annotations

import pickle
import sys
from _compat_pickle import IMPORT_MAPPING
from collections import OrderedDict
from pathlib import Path

import torch

from ..common.compat import tensor_rebuilders

# functions that rebuild a tensor from a storage that torch has read
_REBUILDERS = dict(tensor_rebuilders())
_REBUILDERS[("collections", "OrderedDict")] = OrderedDict
_REBUILDERS[("torch", "Size")] = torch.Size

# names from the standard library that legitimate checkpoints hold; they become placeholders too
_HARMLESS_BUILTINS = (
    "bool bytearray bytes complex dict float frozenset getattr int list object range set slice str tuple"
)
_HARMLESS = {
    "builtins": set(_HARMLESS_BUILTINS.split()),
    "argparse": {"Namespace"},
    "copyreg": {"_reconstructor", "__newobj__"},
    "_codecs": {"encode"},
    "functools": {"partial"},
    "types": {"SimpleNamespace"},
}
_HARMLESS_MODULES = ("collections", "datetime", "decimal", "enum", "fractions", "pathlib", "uuid")


class UnsafePickleError(pickle.UnpicklingError):
    """The file asks for a function that could run code on this machine."""


class Placeholder:
    """Replaces an object that isn't rebuilt. It can be created, called, filled and given a state; it stores nothing."""

    def __new__(cls, *args, **kwargs):
        return super().__new__(cls)

    def __init__(self, *args, **kwargs):
        pass

    def __call__(self, *args, **kwargs):
        return self

    def __setstate__(self, state):
        pass

    def __setitem__(self, key, value):
        pass

    def append(self, item):
        pass

    def extend(self, items):
        pass

    add = append


class Unpickler(pickle.Unpickler):
    """Rebuilds tensors; everything else becomes a placeholder.

    Raises:
        UnsafePickleError: for a name from the standard library that no legitimate checkpoint holds (`os.system`,
            `eval`, `open` ...). A placeholder would make it harmless, but such a file isn't what it claims to be.
    """

    def find_class(self, module: str, name: str):
        module = IMPORT_MAPPING.get(module, module)  # names of Python 2
        if (module, name) in _REBUILDERS:
            return _REBUILDERS[module, name]
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        top = module.split(".")[0]
        if top in sys.stdlib_module_names and top not in _HARMLESS_MODULES and name not in _HARMLESS.get(module, ()):
            raise UnsafePickleError(f"it asks to run {module}.{name}")
        return type(name, (Placeholder,), {"__module__": module})


def load(file, **kwargs):
    """`pickle.load` with this module's unpickler; torch reads the header of its older files with it."""
    return Unpickler(file, **kwargs).load()


def load_tensors_only(path: Path):
    """`torch.load`, with placeholders for everything that isn't a tensor or plain Python data.

    Raises:
        UnsafePickleError: as `Unpickler` does.
        Exception: of any kind, for damaged files.
    """
    return torch.load(path, map_location="cpu", weights_only=False, pickle_module=sys.modules[__name__])
