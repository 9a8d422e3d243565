"""OCRNet (arXiv 1909.11065) for semantic segmentation, as a Hugging Face model.

Importing this package registers its classes with `AutoConfig`, `AutoBackbone`, `AutoModelForSemanticSegmentation` and
`AutoImageProcessor`. `Predictor` segments images. The subpackages `data`, `inference`, `evaluation`, `training`,
`conversion` and `hub` hold the tools around the model. Import them by name.
"""

from typing import TYPE_CHECKING

from transformers import AutoBackbone, AutoConfig, AutoImageProcessor, AutoModelForSemanticSegmentation

from .configuration_hrnet import HRNetConfig
from .configuration_ocrnet import VERSION, OCRNetConfig
from .image_processing_ocrnet import OCRNetImageProcessor, OCRNetImageProcessorPil
from .modeling_hrnet import HRNetBackbone
from .modeling_ocrnet import OCRNetForSemanticSegmentation, OCRNetOutput

if TYPE_CHECKING:
    from .inference import Predictor

__version__ = VERSION

AutoConfig.register("hrnet", HRNetConfig)
AutoConfig.register("ocrnet", OCRNetConfig)
AutoBackbone.register(HRNetConfig, HRNetBackbone)
AutoModelForSemanticSegmentation.register(OCRNetConfig, OCRNetForSemanticSegmentation)
AutoImageProcessor.register(
    OCRNetConfig,
    image_processor_classes={"torchvision": OCRNetImageProcessor, "pil": OCRNetImageProcessorPil},
)

# save_pretrained then writes the code beside the weights, so a process without this package can load them
HRNetConfig.register_for_auto_class()
OCRNetConfig.register_for_auto_class()
HRNetBackbone.register_for_auto_class("AutoBackbone")
OCRNetForSemanticSegmentation.register_for_auto_class("AutoModelForSemanticSegmentation")
OCRNetImageProcessor.register_for_auto_class()
OCRNetImageProcessorPil.register_for_auto_class()

__all__ = [
    "HRNetBackbone",
    "HRNetConfig",
    "OCRNetConfig",
    "OCRNetForSemanticSegmentation",
    "OCRNetImageProcessor",
    "OCRNetImageProcessorPil",
    "OCRNetOutput",
    "Predictor",
]


def __getattr__(name: str):
    """`Predictor` is imported when it is first asked for: the model alone needs nothing of the toolbox."""
    if name == "Predictor":
        from .inference import Predictor

        return Predictor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
