"""Inference: an image in, a label map out; and pictures of it.

`from modeling_ocrnet.inference import Predictor` is the whole of it for most purposes; it is imported when asked for.
"""

__all__ = ["Predictor"]


def __getattr__(name: str):
    if name == "Predictor":
        from .predictor import Predictor

        return Predictor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
