"""What a checkpoint says of its network: the config and the image processor, in its folder `network`.

With them a run goes on if what it started from is gone: the model of `model.init_from`, or a repository of the Hub.
"""

from __future__ import annotations

import json
from pathlib import Path

from accelerate import Accelerator

from ..common.compat import damaged_file_errors, of_the_machine
from ..common.errors import reason
from ..configuration_ocrnet import OCRNetConfig
from ..image_processing_ocrnet import OCRNetImageProcessor
from .state import damaged

_FOLDER, _CONFIG, _PROCESSOR = "network", "config.json", "preprocessor_config.json"


def keep_in_checkpoints(accelerator: Accelerator, config: OCRNetConfig, processor: OCRNetImageProcessor) -> None:
    """Let each checkpoint that the accelerator writes from now on hold them; the main process writes."""

    def write(models: list, weights: list, checkpoint: str) -> None:
        if accelerator.is_main_process:
            folder = Path(checkpoint) / _FOLDER
            folder.mkdir()
            config.to_json_file(folder / _CONFIG)
            processor.to_json_file(folder / _PROCESSOR)

    accelerator.register_save_state_pre_hook(write)


def read_network(checkpoint: Path) -> tuple[OCRNetConfig, OCRNetImageProcessor] | None:
    """Read them; `None` from a checkpoint of an older version, which holds none.

    Raises:
        CheckpointError: if they are damaged.
    """
    folder = checkpoint / _FOLDER
    if not folder.is_dir():
        return None
    try:
        fields = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
        config = OCRNetConfig.from_dict(fields)
        return config, OCRNetImageProcessor.from_json_file(folder / _PROCESSOR)
    except damaged_file_errors() as error:
        if of_the_machine(error):
            raise
        raise damaged(folder, reason(error, 200)) from error
