"""PASCAL-Context, 60 classes: the same files as for 59 classes, but the background, 0 in the masks, is a class too."""

from dataclasses import replace

from ..labels import LabelSet
from .pascal_context_59 import CLASSES
from .pascal_context_59 import DATASET as PASCAL_CONTEXT_59

DATASET = replace(
    PASCAL_CONTEXT_59,
    title="PASCAL-Context with background",
    labels=LabelSet.from_names(f"background, {CLASSES}", ids=range(60), ignored={"unknown": 255}),
)
