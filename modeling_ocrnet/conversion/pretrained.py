"""Checks of folders written by `save_pretrained`, and clear errors for damaged ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..common.compat import damaged_file_errors, of_the_machine
from ..common.errors import UserError, reason
from .loading import read_checkpoint


def check_folder(name: str) -> None:
    """Refuse a folder that holds no model, before anything is built. A name that isn't a folder may be on the Hub.

    Raises:
        UserError: if the folder has no config.json, or its files aren't valid, or it holds an adapter (peft).
    """
    folder = Path(name)
    if not folder.is_dir():
        return
    if (folder / "adapter_config.json").is_file():
        raise UserError(
            f"{name}: holds an adapter, not a whole model: merge it into its base model, and give the folder that "
            "PeftModel.from_pretrained(base, adapter).merge_and_unload().save_pretrained(folder) writes"
        )
    if not (folder / "config.json").is_file():
        inside = next((x for x in (folder / "model", folder / "best") if (x / "config.json").is_file()), None)
        advice = f"did you mean {inside}?" if inside else "give a folder written by save_pretrained"
        raise UserError(f"{name}: holds no config.json; {advice}")
    with explained(name):
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise UserError(f"config.json holds a {type(content).__name__}, expected fields")
        if (pickled := folder / "pytorch_model.bin").is_file() and not list(folder.glob("*.safetensors")):
            read_checkpoint(pickled)


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Turns what `from_pretrained` raises for a damaged or missing checkpoint into an error of one line.

    Args:
        name: the checkpoint, which the message names.

    Raises:
        UserError: for a damaged or missing checkpoint; all other exceptions in the block pass unchanged.
    """
    try:
        yield
    except damaged_file_errors() as error:
        if of_the_machine(error):
            raise
        if isinstance(error, OSError) and not isinstance(error, UserError):  # transformers': it's missing
            first = str(error).strip().splitlines()[0]
            raise UserError(
                f"{name}: neither a checkpoint folder nor a model that can be loaded from the Hub ({first})"
            ) from error
        why = reason(error)
        if "ignore_mismatched_sizes" in why:  # transformers' advice, in a RuntimeError
            why = "the shapes of the weights don't match config.json"
        raise UserError(f"{name}: can't be loaded ({why}): save or download it again") from error
