"""A pickle module for `torch.load` that rebuilds tensors and nothing else.

Training checkpoints of other frameworks pickle their own objects beside the weights (mmengine its `HistoryBuffer`s and
`getattr`, others numpy scalars), and `weights_only=True` refuses the whole file. Here whatever isn't part of a tensor
becomes a `Placeholder`, which takes every argument and does nothing: no name in the file is ever imported.
"""

from __future__ import annotations

import pickle
import sys
from _compat_pickle import IMPORT_MAPPING
from collections import OrderedDict
from pathlib import Path

import torch

from ..common.compat import tensor_rebuilders

# functions that put a tensor together from a storage that torch itself has read
_REBUILDERS = dict(tensor_rebuilders())
_REBUILDERS[("collections", "OrderedDict")] = OrderedDict
_REBUILDERS[("torch", "Size")] = torch.Size

# names of the standard library that honest checkpoints hold; placeholders stand for them too
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
    """The file asks for a function that would act on this machine."""


class Placeholder:
    """Stands for an object that isn't rebuilt: can be made, called, filled and given a state, and keeps none of it."""

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
    """Rebuilds tensors; all else becomes a placeholder.

    Raises:
        UnsafePickleError: for a name of the standard library that no honest checkpoint holds (`os.system`, `eval`,
            `open` ...). It would have done nothing; but such a file is not what it claims to be.
    """

    def find_class(self, module: str, name: str):
        module = IMPORT_MAPPING.get(module, module)  # names of Python 2
        if (module, name) in _REBUILDERS:
            return _REBUILDERS[module, name]
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        top = module.split(".")[0]
        if top in sys.stdlib_module_names and top not in _HARMLESS_MODULES and name not in _HARMLESS.get(module, ()):
            raise UnsafePickleError(f"it wants to run {module}.{name}")
        return type(name, (Placeholder,), {"__module__": module})


def load(file, **kwargs):
    """`pickle.load` with this module's unpickler; torch reads the head of its older files with it."""
    return Unpickler(file, **kwargs).load()


def load_tensors_only(path: Path):
    """What `torch.load` gives, with placeholders for all that isn't a tensor or plain Python data.

    Raises:
        UnsafePickleError: as `Unpickler`.
        Exception: of any kind, for damaged files.
    """
    return torch.load(path, map_location="cpu", weights_only=False, pickle_module=sys.modules[__name__])
