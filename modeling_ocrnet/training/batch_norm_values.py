"""Whether every batch norm gets enough values to train on.

Its statistics are over a batch's images and their positions. With one image whose crop a backbone reduces to one
position, each channel has one value, and no variance.
"""

from __future__ import annotations

import logging

import torch
from torch import nn

from ..common.errors import UserError
from ..configuration_ocrnet import OCRNetConfig
from ..modeling_ocrnet import OCRNetForSemanticSegmentation

logger = logging.getLogger(__name__)

_LARGER = (2, 4, 8, 16, 32, 64)  # how many times larger crops are tried, to advise one


def check_batch_norms(config: OCRNetConfig, crop_size: tuple[int, int]) -> None:
    """Check that training with one image in a forward pass gives each batch norm two values or more per channel. (With
    more images it does.) Only shapes are computed, and those of the actual network, whatever its backbone.

    Args:
        config: of the network.
        crop_size: height and width of the training crops, in pixels.

    Raises:
        UserError: if not; the message names the crop size, the batch norm, its stride and what to choose.
    """
    try:
        with torch.device("meta"):
            model = OCRNetForSemanticSegmentation(config).train()
        sizes = _map_sizes(model, crop_size)
    except (ImportError, RuntimeError) as error:  # no timm; or a backbone that can't be run without numbers
        logger.debug("batch norms' values for crops of %s aren't checked: %s", crop_size, error)
        return
    starved = _starved(sizes)
    if starved is None:
        return
    height, width = crop_size
    stride = advice = ""
    for times in _LARGER:
        sizes = _map_sizes(model, (height * times, width * times))
        if _starved(sizes) is None:
            stride = f" (stride {round(height * times / sizes[starved][0])})"
            advice = f", or --data.crop_size {height * times},{width * times} or larger"
            break
    raise UserError(
        f"data.crop_size is {height},{width} and micro_batch is 1: that leaves the batch norm {starved}{stride} one "
        "value per channel, and training needs two or more: give --micro_batch 2 or more (--global_batch is a multiple "
        f"of it){advice}"
    )


def _starved(sizes: dict[str, tuple[int, int]]) -> str | None:
    """The first batch norm that gets one position."""
    return next((name for name, (height, width) in sizes.items() if height * width < 2), None)


class _StarvedError(Exception):
    """A batch norm gets one position: torch would go no further."""


def _map_sizes(model: nn.Module, crop_size: tuple[int, int]) -> dict[str, tuple[int, int]]:
    """Height and width of what each batch norm gets, by its name; up to the first with one position."""
    sizes: dict[str, tuple[int, int]] = {}

    def note(name: str):
        def hook(_, inputs):
            height, width = inputs[0].shape[2:]
            sizes[name] = (height, width)
            if height * width < 2:
                raise _StarvedError

        return hook

    norms = [(name, x) for name, x in model.named_modules() if isinstance(x, nn.BatchNorm2d) and x.training]
    handles = [module.register_forward_pre_hook(note(name)) for name, module in norms]
    try:
        with torch.no_grad():
            model(torch.empty(1, 3, *crop_size, device="meta"))
    except _StarvedError:
        pass
    finally:
        for handle in handles:
            handle.remove()
    return sizes
