"""Folders that `save_pretrained` wrote, read with errors that say what is wrong with them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..common.compat import damaged_file_errors, of_the_machine
from ..common.errors import UserError, reason
from .loading import read_checkpoint


def check_folder(name: str) -> None:
    """Refuse a folder that isn't a model's, before anything is built. What isn't a folder may be on the Hub.

    Raises:
        UserError: where it has no config, or files that don't even begin as they should.
    """
    folder = Path(name)
    if not folder.is_dir():
        return
    if not (folder / "config.json").is_file():
        inside = next((x for x in (folder / "model", folder / "best") if (x / "config.json").is_file()), None)
        advice = f"did you mean {inside}?" if inside else "give a folder that save_pretrained wrote"
        raise UserError(f"{name}: holds no config.json; {advice}")
    with explained(name):
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise UserError(f"config.json holds a {type(content).__name__}, expected fields")
        if (pickled := folder / "pytorch_model.bin").is_file() and not list(folder.glob("*.safetensors")):
            read_checkpoint(pickled)


@contextmanager
def explained(name: str) -> Iterator[None]:
    """What `from_pretrained` raises for a checkpoint that is damaged or isn't there, as one line that names it.

    Raises:
        UserError: for that; whatever else is raised inside the block goes on as it is.
    """
    try:
        yield
    except damaged_file_errors() as error:
        if of_the_machine(error):
            raise
        if isinstance(error, OSError) and not isinstance(error, UserError):  # transformers': it isn't there
            first = str(error).strip().splitlines()[0]
            raise UserError(
                f"{name}: neither a checkpoint folder nor a model that can be had from the Hub ({first})"
            ) from error
        why = reason(error)
        if "ignore_mismatched_sizes" in why:  # transformers' advice, in a RuntimeError
            why = "the weights have other shapes than config.json says"
        raise UserError(f"{name}: can't be loaded ({why}): save or download it again") from error
