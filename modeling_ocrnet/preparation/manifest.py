"""An export's manifest: its options, its source, and the checksums of its files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ..common.atomic_files import atomic_write, sha256
from ..common.errors import writing
from ..data.decoding import DataError
from ..data.memory_mapped_store import MANIFEST


class Manifest:
    """The `manifest.json` of a folder, rewritten (atomically) after each file.

    Args:
        folder: the export's folder; created if it doesn't exist.
        description: everything that determines the output. A folder whose manifest differs is refused.

    Raises:
        DataError: if the folder holds something else; names the first difference.
    """

    def __init__(self, folder: Path, description: dict[str, Any]):
        self.path = folder / MANIFEST
        self.content = {**json.loads(json.dumps(description)), "complete": False, "files": {}}
        if self.path.is_file():
            self._take_over()
        elif folder.exists() and any(folder.iterdir()):
            raise DataError(f"{folder}: holds files, but no {MANIFEST}: choose an empty folder or a new one")
        with writing(folder):
            (folder / "data").mkdir(parents=True, exist_ok=True)
        self._write()

    def _take_over(self) -> None:
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            files = {name: {x: entry[x] for x in ("sha256", "rows", "bytes")} for name, entry in found["files"].items()}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DataError(f"{self.path}: not a manifest ({error!r}): remove the folder, or choose another") from error
        for key, wanted in self.content.items():
            if key not in ("files", "complete") and found.get(key) != wanted:
                raise DataError(
                    f"{self.path.parent}: was exported with {key} {_short(found.get(key))}, now it is "
                    f"{_short(wanted)}: remove the folder, or choose another"
                )
        self.content["files"] = files

    def holds(self, name: str) -> bool:
        """Whether a file was finished and hasn't changed since."""
        entry, path = self.content["files"].get(name), self.path.parent / name
        if entry is None or not path.is_file() or path.stat().st_size != entry["bytes"]:
            return False
        return sha256(path) == entry["sha256"]

    def add(self, name: str, part: Path, rows: int) -> None:
        """Rename a finished file to its name, and record it."""
        entry = {"sha256": sha256(part), "rows": rows, "bytes": part.stat().st_size}
        with writing(self.path.parent / name):
            os.replace(part, self.path.parent / name)
        self.content["files"][name] = entry
        self._write()

    def finish(self) -> None:
        self.content["complete"] = True
        self._write()

    def _write(self) -> None:
        with atomic_write(self.path) as part:
            part.write_text(json.dumps(self.content, indent=1) + "\n", encoding="utf-8")


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."
