"""PASCAL-Context, 60 classes: the same files as for 59, the background trained too."""

from ..label_sets import PASCAL_CONTEXT_60 as LABELS
from .pascal_context_59 import DEFAULT_ROOT, SPLITS, find

__all__ = ["DEFAULT_ROOT", "LABELS", "SPLITS", "find"]
