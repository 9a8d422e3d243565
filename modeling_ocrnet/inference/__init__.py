"""Inference: images to label maps, and pictures of them.

`Predictor` is enough for most purposes. It is imported on first use.
"""

__all__ = ["Predictor"]


def __getattr__(name: str):
    if name == "Predictor":
        from .predictor import Predictor

        return Predictor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
