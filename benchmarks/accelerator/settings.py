"""The settings of the measurements: sizes for an accelerator, and tiny ones to test the script on a CPU."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from modeling_ocrnet import OCRNetConfig, OCRNetForSemanticSegmentation

from .section import PartSkipped

CLASSES = 19
_TINY_BACKBONE = {
    "stem_channels": 8,
    "stage1_channels": 4,
    "branch_channels": [4, 8, 12, 16],
    "stage_modules": [1] * 4,
    "stage_blocks": [1] * 4,
}
_TINY_HEADS = {"ocr_channels": 16, "key_channels": 8}


@dataclass(frozen=True)
class Settings:
    """The settings of all parts.

    Args:
        output: the folder of the report.
        tiny: run everything on the CPU, with the smallest network and sizes.
        trained: (variant, batch) of the training steps to time.
        crop: height and width of training images.
        images: heights and widths of segmented images.
        rounds: of a comparison, if there is time.
        repeats: steps or passes that are timed together.
        product: rows of the square matrices whose product measures the speed of the device.
        backend: of `torch.compile`.
        steps: of the training loop to time.
    """

    output: Path
    tiny: bool = False
    trained: tuple[tuple[str, int], ...] = (("hr18s", 2), ("hr18", 2), ("hr48", 2), ("hr18", 8))
    crop: tuple[int, int] = (512, 1024)
    images: tuple[tuple[int, int], ...] = ((512, 1024), (1024, 2048))
    rounds: int = 9
    repeats: int = 5
    product: int = 8192
    backend: str = "inductor"
    steps: int = 40

    @classmethod
    def for_cpu(cls, output: Path) -> Settings:
        """The tiny settings."""
        small = {"trained": (("hr18s", 1),), "crop": (32, 64), "images": ((32, 64),), "product": 128, "steps": 4}
        return cls(output, tiny=True, rounds=2, repeats=1, backend="eager", **small)

    def device(self) -> torch.device:
        """The accelerator that torch finds, or the CPU of the tiny run.

        Raises:
            PartSkipped: if there is none.
        """
        if self.tiny:
            return torch.device("cpu")
        if not torch.accelerator.is_available():
            raise PartSkipped("torch.accelerator finds no accelerator")
        return torch.accelerator.current_accelerator()

    def network(self, variant: str) -> dict:
        """The arguments of `OCRNetConfig.from_variant` for a variant."""
        small = {"backbone_fields": _TINY_BACKBONE, **_TINY_HEADS} if self.tiny else {}
        return {"variant": variant, "num_labels": CLASSES, **small}

    def model(self, variant: str) -> OCRNetForSemanticSegmentation:
        """A model on the CPU, with the same weights each time."""
        torch.manual_seed(0)
        return OCRNetForSemanticSegmentation(OCRNetConfig.from_variant(**self.network(variant)))


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished all its work."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


@contextmanager
def float32_products(tf32: bool = False, search: bool = False):
    """Sets the precision of float32 products, and whether to search for the fastest kernels of convolutions.

    Args:
        tf32: use TF32 (ten bits of mantissa) on devices that have it.
        search: try several kernels for each size, and keep the fastest.
    """
    cudnn = torch.backends.cudnn
    before = torch.get_float32_matmul_precision(), cudnn.allow_tf32, cudnn.benchmark
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    cudnn.allow_tf32, cudnn.benchmark = tf32, search
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        cudnn.allow_tf32, cudnn.benchmark = before[1:]
